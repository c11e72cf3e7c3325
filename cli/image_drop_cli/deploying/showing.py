"""What a person sees of CloudFormation: the changes, and how far it is."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from image_drop_cli.deploying.stacks import STACK, Change, Event

_ACTIONS = {
    "Add": "[green]create[/]",
    "Import": "[blue]adopt[/]",
    "Modify": "[yellow]change[/]",
    "Remove": "[red]delete[/]",
}
_LISTED = 4  # names of properties


def changes(found: Sequence[Change]) -> Table:
    """Return a table of a change set, with replaced and deleted resources last."""
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    order = list(_ACTIONS)
    for each in sorted(found, key=lambda each: (each.replaced, order.index(each.action))):
        action = "[bold red]replace[/]" if each.replaced else _ACTIONS[each.action]
        names = ", ".join(each.properties[:_LISTED])
        more = ", …" if len(each.properties) > _LISTED else ""
        table.add_row(action, escape(each.resource), escape(each.type), escape(names + more))
    return table


def progress(events: Iterable[Event], total: int, console: Console) -> None:
    """Show how many resources are finished until the events end.

    Resources that fail are shown as they do. In a file, nothing else is.
    """
    columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    hidden = not console.is_interactive
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=total)
        done: set[str] = set()
        for event in _of_resources(events):
            if event.status.endswith("_FAILED"):
                console.print(f"[red]failed[/]  {escape(f'{event.resource}: {event.reason}')}")
            elif event.status.endswith("_COMPLETE"):
                done.add(event.resource)
            bar.update(task, completed=len(done), description=escape(event.resource))


def _of_resources(events: Iterable[Event]) -> Iterator[Event]:
    return (event for event in events if event.type != STACK)
