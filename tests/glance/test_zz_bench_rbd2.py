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
    claim=node.cache/"incomplete"/i; claim.parent.mkdir(parents=True,exist_ok=True); claim.touch()
    t=time.monotonic()
    r=subprocess.run(f"curl -sf -H 'X-Auth-Token: {node.at.user.token}' http://127.0.0.1:{node.at.glance.port}/v2/images/{i}/file | tee {out} | sha512sum",shell=True,capture_output=True,check=True)
    d=time.monotonic()-t; claim.unlink()
    assert out.stat().st_size==SIZE
    return d

def settle():
    os.sync(); time.sleep(1)

def test_bench(installed,keystone,two_ceph_clusters,tmp_path_factory):
    from tests.glance.stores import ceph_store
    from tests.glance_environments import with_ceph
    from tests.ceph.sites import POOL
    c,_=two_ceph_clusters
    stores=(ceph_store("central",c,c.user("glance",POOL)),)
    with_ceph(installed.environment)
    d=tmp_path_factory.mktemp("node")
    with cache_node(stores,installed,installed.environment,keystone,d) as node:
        big=d/"big"; subprocess.run(["dd","if=/dev/urandom",f"of={big}","bs=1M",f"count={SIZE>>20}"],check=True,capture_output=True)
        i=put_big(node,big); big.unlink()
        small=node.upload(os.urandom(20*2**20))
        import json
        for name,env,chunk in [(n,e,c) for n,e in (("plain",{}),("mmap1M",{"MALLOC_MMAP_THRESHOLD_":str(2**20),"MALLOC_TRIM_THRESHOLD_":str(2**20)}),("mmap256K arena1",{"MALLOC_MMAP_THRESHOLD_":str(2**18),"MALLOC_TRIM_THRESHOLD_":str(2**18),"MALLOC_ARENA_MAX":"1"})) for c in (1,2,4,8)]:
            p="/work/wt/worker/operator/imageservice/prefetcher/glance_setup.py"
            import re
            q=Path(p).read_text(); Path(p).write_text(re.sub(r'"rbd_store_chunk_size", [0-9]*',f'"rbd_store_chunk_size", {chunk}',q))
            with node.worker(**env) as w:
                w.ask("list"); base=w.level("VmRSS"); ts=[]
                for n in range(3):
                    settle(); t=time.monotonic(); r=w.fetch(i); ts.append(round(time.monotonic()-t,2)); assert r["done"]=="fetched",r
                    w.ask("delete",id=i)
                print(name,chunk,"base",base,"s",ts,"peak",w.level("VmHWM"),"now",w.level("VmRSS"),"anon",w.level("RssAnon"),"file",w.level("RssFile"),flush=True)
    assert 0
