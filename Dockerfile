# The two images of the product, one stage each:
#
#   docker build --target operator --tag image-service-operator .
#   docker build --target glance --build-arg GLANCE_RELEASE=2026.1 --tag glance:2026.1 .
#
# Every Python package comes from a lock file with hashes. What the images have in common are layers in common.
ARG BASE=debian:bookworm-slim


FROM ${BASE} AS base
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates python3 \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old \
           /var/log/apt /var/log/*.log \
 && find /usr/lib/python3* -name __pycache__ -prune -exec rm -r {} + \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.11


# pip lives here, in a stage that no image contains.
FROM base AS installer
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-venv \
 && apt-get clean \
 && python3 -m venv /opt/pip
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1


FROM installer AS operator-packages
COPY requirements.lock /tmp/requirements.lock
# Most of the Kubernetes client are generated classes, some for each API. The operator reads and writes plain objects, so
# the client never loads them (tests/images/test_operator_image.py holds that).
# Byte code is made here because nobody can write it later: the images run with a read-only root.
RUN python3 -m venv --without-pip /opt/operator \
 && /opt/pip/bin/pip --python /opt/operator/bin/python install --quiet --no-compile --no-deps --require-hashes \
      -r /tmp/requirements.lock \
 && find /opt/operator/lib/python3.11/site-packages/kubernetes -regex '.*/client/\(api\|models\)/.*\.py' \
      ! -name __init__.py -delete \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/operator/lib


FROM operator-packages AS operator-code
COPY containers/operator/build-requirements.lock /tmp/build-requirements.lock
RUN /opt/pip/bin/pip install --quiet --no-deps --require-hashes -r /tmp/build-requirements.lock
COPY pyproject.toml README.md LICENSE /src/
COPY operator /src/operator
RUN /opt/pip/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /tmp/wheels /src \
 && /opt/pip/bin/pip --python /opt/operator/bin/python install --quiet --no-warn-script-location --no-compile --no-deps \
      --root /image /tmp/wheels/*.whl \
 && python3 -m compileall -q --invalidation-mode unchecked-hash -s /image /image/opt/operator/lib


FROM base AS operator
COPY --from=operator-packages /opt/operator /opt/operator
# A layer of its own: a change of the code moves no packages.
COPY --from=operator-code /image /
ENV PATH=/opt/operator/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1
WORKDIR /
USER 65532:65532
ENTRYPOINT ["image-service-operator"]
CMD ["run"]


# One of 2025.1, 2025.2, 2026.1, 2026.2.
FROM installer AS glance-packages
ARG GLANCE_RELEASE=2026.1
COPY containers/glance/requirements-${GLANCE_RELEASE}.lock /tmp/requirements.lock
# Ceph's Python modules exist only as Debian packages, for Debian's Python: the links lead to where the image has them.
RUN python3 -m venv --without-pip /opt/glance \
 && /opt/pip/bin/pip --python /opt/glance/bin/python install --quiet --no-compile --no-deps --require-hashes \
      -r /tmp/requirements.lock \
 && find /opt/glance/lib -type d -name tests -prune -exec rm -r {} + \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/glance/lib \
 && abi="$(python3 -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')" \
 && for module in rados rbd; do \
      ln -s "/usr/lib/python3/dist-packages/$module.$abi.so" /opt/glance/lib/python3.11/site-packages/; \
    done


FROM base AS glance
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-rados python3-rbd qemu-utils \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old \
           /var/log/apt /var/log/*.log \
 && groupadd --gid 42415 glance \
 && useradd --uid 42415 --gid 42415 --home-dir /var/lib/glance --create-home --skel /nonexistent \
      --shell /usr/sbin/nologin glance
COPY --from=glance-packages /opt/glance /opt/glance
COPY containers/glance/on-node /opt/glance/on-node/iscsiadm
RUN for program in multipath multipathd nvme; do ln -s iscsiadm "/opt/glance/on-node/$program"; done
ENV PATH=/opt/glance/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1
# The parts that only come together here fit.
RUN glance-manage --version && python -B -c "import rados, rbd" && qemu-img --version
WORKDIR /
USER 42415:42415
