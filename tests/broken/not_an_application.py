# error: not_an_application.py:app is no application but 'int'; name what Deployment.bind() returned
app = 3
