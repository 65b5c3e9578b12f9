# Every recipe does its own set-up; `./justw` makes .venv first.
export PATH := justfile_directory() / ".venv/bin:" + env("PATH")
export VIRTUAL_ENV := justfile_directory() / ".venv"
# Tests start hundreds of processes, which start in half the time from compiled modules.
export PYTHONDONTWRITEBYTECODE := ""

# list the recipes
default:
    @just --list --unsorted

# install everything into .venv (again only when pyproject.toml has changed)
install:
    @cmp -s pyproject.toml .venv/installed.toml || (uv pip install --quiet -e '.[all,dev]' && cp pyproject.toml .venv/installed.toml)

# the whole system offline: streams a sample meeting, shows its transcript and its summary
demo *args: install
    python -m tools.demo {{ args }}

# everything on this machine: --port, --workers, --data, and settings by environment
up *args: install
    python -m compose {{ args }}

# all tests but the slow ones, against real servers and in a real browser
test *args: install
    @python -m tools.browser
    python -m pytest -m "not slow" -n 4 --dist loadfile --no-loadscope-reorder {{ args }}

# the slow tests: whole benchmarks, a minute of chaos, long meetings through the whole system
slow *args: install
    python -m pytest -m slow -n 2 --dist loadfile --timeout 600 {{ args }}

# fetch the stock models and the recordings of real people that tests and benches use
assets *args: install
    python -m tools.assets {{ args }}

# lint, formatting and types
check: install
    ruff check .
    ruff format --check .
    mypy

# format and fix
fmt: install
    ruff check --fix .
    ruff format .

# a benchmark by name: edge, gpu, latency, memory, scale, sessions, stt, words
bench name *args: install
    python -m bench.{{ name }} {{ args }}

# hundreds of live streams for half an hour, whether memory grows and a sample is lost: --streams 300 --minutes 30
soak *args: install
    python -m bench.soak {{ args }}

# meetings while everything is killed, stopped and disturbed at random: --seconds 600 --meetings 8 --seed 1
chaos *args: install
    python -m chaos {{ args }}
