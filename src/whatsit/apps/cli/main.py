"""The entry point: commands loaded on demand, errors as one line and an exit code."""

from __future__ import annotations

import signal
import sys
import time
from importlib import import_module
from typing import Any

import click

from whatsit.apps.text import printable
from whatsit.errors import OptionError, OutputError, WhatsitError, did_you_mean
from whatsit.version import __version__

STARTED = time.perf_counter()

# command -> (module in this folder, object in it); `val` is the name people bring from elsewhere
COMMANDS = {
    "demo": ("training", "demo"),
    "train": ("training", "train"),
    "evaluate": ("answers", "evaluate"),
    "val": ("answers", "evaluate"),
    "predict": ("answers", "predict"),
    "show-sample": ("samples", "show_sample"),
    "serve": ("page", "serve"),
    "desktop": ("desktop", "desktop"),
    "tensorboard": ("board", "tensorboard"),
    "check": ("data", "check"),
    "split": ("data", "split"),
    "models": ("models", "models"),
    "fetch": ("models", "fetch"),
    "import": ("importing", "import_"),
    "show": ("files", "show"),
    "verify": ("files", "verify"),
}


class _ReaderGone(Exception):
    """Nobody reads what we write any more (`whatsit predict ... | head`); under its own name click ends with code 1."""


class _Commands(click.Group):
    """Imports a command's module only when it is called, so that `predict` starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return [name for name in COMMANDS if name != "val"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command = getattr(import_module(f"whatsit.apps.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise OptionError(
                "cannot run this command",
                value=repr(args[0]),
                accepted=", ".join(self.list_commands(ctx)),
                hint=did_you_mean(args[0], COMMANDS) or "See: whatsit --help",
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderGone from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="whatsit")
def whatsit() -> None:
    """Which of these is it? Train an image classifier on folders of pictures, and use it.

    \b
    whatsit demo                             see it work, from training to a page
    whatsit predict photo.jpg                ask the built-in model, which knows ten things
    whatsit train photos/                    one folder per class
    whatsit predict -m runs/photos/model.onnx new.jpg
    whatsit serve -m runs/photos/model.onnx  a page to try it on
    """


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be valid text, nor fit the terminal's
    try:
        arguments = sys.argv[1:] if arguments is None else arguments
        code = whatsit.main(args=arguments or ["--help"], prog_name="whatsit", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (_ReaderGone, BrokenPipeError):
        return 141  # as if by SIGPIPE
    except WhatsitError as error:
        return _fail(error)
    except click.UsageError as error:
        return _fail(_usage(error))
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nstopped", err=True)
        return 130
    except OSError as error:
        return _fail(_system(error))


def run() -> None:
    """The console script. SIGTERM, as a cluster sends it, ends the work as Ctrl-C does: with the best so far."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())


def _fail(error: WhatsitError) -> int:
    click.echo(f"error: {printable(str(error))}", err=True)
    return error.exit_code


def _usage(error: click.UsageError) -> OptionError:
    """Click's messages about options, in our four parts."""
    command = error.ctx.command_path if error.ctx else "whatsit"
    accepted, hint = "the options in its --help", f"See: {command} --help"
    value = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption):
        value = f"unknown option {error.option_name}"
        if error.possibilities:
            hint = f"Did you mean {' or '.join(sorted(error.possibilities)[:3])}?"
    elif error.message and isinstance(error, click.BadParameter) and isinstance(error.param, click.Option):
        value = error.message.rstrip(".")
        accepted = f"{'/'.join(error.param.opts)} {error.param.help or ''}".rstrip(" .")
        if isinstance(error.param.type, click.Choice):
            accepted = ", ".join(error.param.type.choices)
    return OptionError(f"cannot run '{command}'", value=value, accepted=accepted, hint=hint)


def _system(error: OSError) -> OutputError:
    """What the operating system refuses outside every place that has a better word for it: mostly a full disk."""
    where = f" '{error.filename}'" if error.filename else ""
    return OutputError(
        f"cannot go on{where}",
        value=(error.strerror or str(error)).lower(),
        accepted="a system that lets the command read its input and write its answers",
        hint="Free some space or choose another place.",
    )
