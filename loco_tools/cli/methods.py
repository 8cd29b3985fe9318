"""What there is to compare: methods."""

import click

from loco_tools.cli.printing import AS_JSON, print_json


@click.command()
@click.option("--backbones", is_flag=True, help="List the backbones instead.")
@AS_JSON
def methods(backbones: bool, as_json: bool) -> None:
    """List the detectors and ensembles that `bench --methods` takes, with one line each.

    A detector of your own needs no entry: `bench --methods my_file:MyDetector` takes it from the
    current folder. With the extra `anomalib`, `anomalib:NAME` takes any of its image models.

    Example: loco-tools methods --backbones
    """
    if backbones:
        from loco_tools.methods.backbones import describe_backbones

        groups = {"backbones": describe_backbones()}
    else:
        from loco_tools.ensembles import describe_ensembles
        from loco_tools.methods import describe_methods

        groups = {"detectors": describe_methods(), "ensembles": describe_ensembles()}
    if as_json:
        print_json({group: dict(entries) for group, entries in groups.items()})
        return
    width = max(len(name) for entries in groups.values() for name, _ in entries)
    for group, entries in groups.items():
        click.echo(f"{group}:")
        for name, line in entries:
            click.echo(f"  {name:<{width}}  {line}")
