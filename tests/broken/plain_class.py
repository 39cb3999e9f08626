# error: plain_class.py:app is no application but the class app; name what Deployment.bind()


class app:
    pass
