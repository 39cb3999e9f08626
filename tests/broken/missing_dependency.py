# error: missing_dependency raised ModuleNotFoundError while it was imported; correct that
# error: No module named 'there_is_no_such_package'
import there_is_no_such_package

app = there_is_no_such_package.app
