from dataclasses import replace

import pytest


@pytest.fixture
def tiny(home):
    """The tiny configuration on a corpus that is found from everywhere."""
    import tiny_recipe

    config = tiny_recipe.tiny()
    return replace(config, data=str(home / "corpus"))


@pytest.fixture
def grid_file(tmp_path, home):
    """Writes a grid file of the tiny recipe, on the made-up corpus; returns its path."""
    import yaml
    from forked import TINY

    def write(**values):
        given = {"recipe": str(TINY), "preset": "tiny", "flags": {}, **values}
        given["flags"] = {"data": str(home / "corpus"), **given["flags"]}
        file = tmp_path / "tiny.yaml"
        file.write_text(yaml.safe_dump(given, sort_keys=False), "utf-8")
        return file

    return write
