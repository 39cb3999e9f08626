# error: raises_at_import raised ZeroDivisionError while it was imported; correct that
# error: raises_at_import.py", line 5, in <module>
# error: ZeroDivisionError: division by zero

app = 1 / 0
