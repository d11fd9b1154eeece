"""The entry point: commands loaded on demand, errors as one line and an exit code."""

from __future__ import annotations

import sys
import time
from importlib import import_module

import click

from whatsit.errors import OptionError, WhatsitError, did_you_mean
from whatsit.version import __version__

STARTED = time.perf_counter()

# command -> (module in this folder, object in it); `val` is the name people bring from elsewhere
COMMANDS = {
    "demo": ("training", "demo"),
    "train": ("training", "train"),
    "evaluate": ("answers", "evaluate"),
    "val": ("answers", "evaluate"),
    "predict": ("answers", "predict"),
    "serve": ("page", "serve"),
    "check": ("data", "check"),
    "split": ("data", "split"),
    "show": ("files", "show"),
    "verify": ("files", "verify"),
}


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


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="whatsit")
def whatsit() -> None:
    """Which of these is it? Train an image classifier on folders of pictures, and use it.

    \b
    whatsit demo                             see it work, from training to a page
    whatsit train photos/                    one folder per class
    whatsit predict -m runs/photos/model.onnx new.jpg
    whatsit serve -m runs/photos/model.onnx  a page to try it on
    """


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        code = whatsit.main(args=arguments, prog_name="whatsit", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except WhatsitError as error:
        return _fail(error)
    except click.UsageError as error:
        return _fail(_usage(error))
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nstopped", err=True)
        return 130
    except BrokenPipeError:
        # The reader (`head`, say) has had enough; keep Python from complaining about it at exit.
        sys.stdout = None
        return 141


def run() -> None:
    """The console script."""
    sys.exit(main())


def _fail(error: WhatsitError) -> int:
    click.echo(f"error: {error}", err=True)
    return error.exit_code


def _usage(error: click.UsageError) -> OptionError:
    """Click's messages about options, in our four parts."""
    command = error.ctx.command_path if error.ctx else "whatsit"
    message = error.format_message().rstrip(".")
    possible = getattr(error, "possibilities", None)
    hint = f"Did you mean {' or '.join(sorted(possible)[:3])}?" if possible else f"See: {command} --help"
    value = message if not isinstance(error, click.NoSuchOption) else f"unknown option {error.option_name}"
    return OptionError(f"cannot run '{command}'", value=value, accepted="the options in its --help", hint=hint)
