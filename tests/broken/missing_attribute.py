"""The attribute that is named is not there, but one that is almost called so.

error: missing_attribute has no 'app'; did you mean 'apps'? (its applications are apps)
"""

from meshgen import serve


@serve.deployment
class Model:
    pass


apps = Model.bind()
