"""Runs the countdown and takes its items through a handle, without HTTP."""

from app import app

from meshgen import serve


def main() -> None:
    serve.start({"port": 0})  # any free port
    serve.run(app, name="countdown")
    counter = serve.get_deployment_handle("Counter", "countdown").options(stream=True)
    for number in counter.count_down.remote(3):
        print(number)
    serve.shutdown()


if __name__ == "__main__":
    main()
