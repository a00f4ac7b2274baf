"""How fast, how frugal and how quiet an operator is: `python -m bench --help`.

subject.py         what is measured: a command and its objects, read from `subjects/*.yaml`
run.py             one subject on one cluster: what the phases share; phases/ has a module for each thing measured
site.py            the cluster, the users and the processes around it; api.py and observer.py: its API server
process.py         the operator's process: start, end, memory, processor time
audit.py, timeline.py, samples.py    pure: from what was logged and seen to figures
results.py, table.py, picture.py     pure: figures beside targets (`figures.yaml`), as JSON, text and SVG
"""
