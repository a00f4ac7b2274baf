import hashlib, os, subprocess, time, statistics, shutil
import pytest
from pathlib import Path
from tests.glance import client
from tests.glance.conftest import *
from tests.glance.prefetcher import cache_node
from tests.unit.render import samples
from tests.keystone import keystone

RELEASE=os.environ.get("RELEASE","2026.2")
pytestmark=pytest.mark.parametrize("installed",[RELEASE],indirect=True,scope="session")
SIZE=int(os.environ.get("SIZE","1024"))*2**20

def put_big(node, path):
    i=client.create_image(node.at.glance,node.at.user)
    subprocess.run(["curl","-sf","-X","PUT","-H",f"X-Auth-Token: {node.at.user.token}","-H","Content-Type: application/octet-stream","-T",str(path),f"http://127.0.0.1:{node.at.glance.port}/v2/images/{i}/file"],check=True)
    return i

def curl(node,i,out):
    if out.exists(): out.unlink()
    t=time.monotonic()
    r=subprocess.run(f"curl -sf -r 0-{SIZE-1} -H 'X-Auth-Token: {node.at.user.token}' http://127.0.0.1:{node.at.glance.port}/v2/images/{i}/file | tee {out} | sha512sum",shell=True,capture_output=True,check=True)
    d=time.monotonic()-t
    assert out.stat().st_size==SIZE
    return d

def settle():
    os.sync(); time.sleep(1)

def test_bench(installed,keystone,tmp_path_factory):
    stores=(samples.store("central"),samples.store("near"))
    d=tmp_path_factory.mktemp("node")
    with cache_node(stores,installed,installed.environment,keystone,d) as node:
        big=d/"big"; subprocess.run(["dd","if=/dev/urandom",f"of={big}","bs=1M",f"count={SIZE>>20}"],check=True,capture_output=True)
        i=put_big(node,big); big.unlink()
        small=node.upload(os.urandom(20*2**20))
        t=time.monotonic()
        with node.worker() as w:
            w.ask("list"); print("start",time.monotonic()-t, "rss",w.level("VmRSS"))
            a,b=[],[]
            for n in range(int(os.environ.get("RUNS","4"))):
                settle(); b.append(curl(node,i,d/"out")); (d/"out").unlink()
                settle(); t=time.monotonic(); r=w.fetch(i); a.append(time.monotonic()-t); assert r["done"]=="fetched",r
                f=[l for l in Path(f"/proc/{w.process.pid}/stat").read_text().split()]
                w.ask("delete",id=i)
            print("curl",[round(x,2) for x in b],"worker",[round(x,2) for x in a], "ratio",statistics.median(a)/statistics.median(b))
            print("cpu s",(int(f[13])+int(f[14]))/100, "peak",w.level("VmHWM"),"now",w.level("VmRSS"))
        with node.worker() as w:
            print(w.fetch(small)); print("20 MiB peak",w.level("VmHWM"))
    assert 0
