# What scripts/test-v2 runs inside of its machine, as a service of systemd; then the machine goes off.
cd /root/carob || exit 1
export PATH=/root/carob/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
export CAROB_TEST_PATIENCE=10
export PYTEST_ADDOPTS="${PYTEST_ADDOPTS:-} -o timeout=1200"
# what changed since the disk was made: nobody else keeps it compiled
python -m compileall -q src
echo "carob-test-v2: $(uname -r), $(stat -f -c %T /sys/fs/cgroup), $(systemd-detect-virt), $(nproc) processors"
# shellcheck disable=SC2046
pytest -v $(cat scripts/lib/.v2-tests)
status=$?
dmesg --level=err,crit,alert,emerg | tail -20
echo "carob-test-v2: exit $status"
sync
sleep 2
systemctl poweroff --force --force
