#!/usr/bin/env bash
# One Ceph RADOS gateway (S3) on loopback with one monitor and one store in memory, all state in the
# folder $1, the gateway at port $2, the monitor at port $3. No systemd, nothing outside the folder.
set -euo pipefail
folder=$1 port=$2 monitor=$3
mkdir -p "$folder"/{mon,osd,mgr}
fsid=$(cat /proc/sys/kernel/random/uuid)
conf=$folder/ceph.conf
cat >"$conf" <<CONF
[global]
fsid = $fsid
mon host = [v1:127.0.0.1:$monitor]
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 2147483648
osd memory target = 939524096
mon allow pool size one = true
mon pg warn min per osd = 0
mon max pg per osd = 1000
mon warn on pool no redundancy = false
run dir = $folder
log file = $folder/\$name.log
admin socket = $folder/\$name.asok
pid file = $folder/\$name.pid
mon data = $folder/mon
osd data = $folder/osd
mgr data = $folder/mgr
keyring = $folder/keyring
rgw data = $folder
rgw enable usage log = false
rgw thread pool size = 32
rgw frontends = beast endpoint=127.0.0.1:$port
CONF
touch "$folder/keyring"
monmaptool --create --fsid "$fsid" --addv a "[v1:127.0.0.1:$monitor]" "$folder/monmap" >/dev/null
ceph-mon -c "$conf" -i a --mkfs --monmap "$folder/monmap"
ceph-mon -c "$conf" -i a
ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$(cat /proc/sys/kernel/random/uuid)" >/dev/null 2>&1 || true
# now and then one of them ends at once, without a reason that it tells
again() {
  local try
  for ((try = 0; try < 10; try++)); do
    "$@" >"$folder/again.out" 2>&1 && return
    sleep 0.5
  done
  cat "$folder/again.out" >&2
  return 1
}
again ceph -c "$conf" osd new "$(cat "$folder/osd/fsid")" 0
again ceph -c "$conf" osd crush add osd.0 1.0 root=default host=local
again ceph-osd -c "$conf" -i 0
radosgw -c "$conf" -n client.rgw
for ((try = 0; try < 300; try++)); do
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  sleep 0.2
done
again radosgw-admin -c "$conf" user create --uid=test --display-name=test \
  --access-key=test-key --secret-key=test-secret
