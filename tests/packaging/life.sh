# From a package to a login over RADIUS, and on: upgrade, a crash, removal. Runs as root in the container.
set -eu
export DEBIAN_FRONTEND=noninteractive HOME=/root
dir="--dir /var/lib/oncegate"
step() { echo "-- $1"; }
login() { # COUNTER: what answers its code
    printf 'User-Name=alice,User-Password=%s,Message-Authenticator=0x00\n' "$(oathtool --base32 -c "$1" "$seed")" |
        radclient -t "${patience:-3}" -r 1 127.0.0.1:1812 auth "$(cat secret)" 2>&1 | grep -o 'Received Access-[A-Za-z]*' || true
}
ip link set lo up

step "five commands"
dpkg -i "$1" 2>&1 | grep -v '^(Reading' || true
oncegate $dir --json user add alice >/dev/null
oncegate $dir --json token add alice --kind hotp --active >token.json
oncegate $dir --json client add radius vpn --address 127.0.0.1/32 >client.json
python3 -c 'import json; print(json.load(open("client.json"))["secret"], end="")' >secret
seed=$(python3 -c 'import json; print(json.load(open("token.json"))["secret"])')
login 0
login 0

step "the unit"
systemctl is-enabled oncegate
systemctl is-active oncegate
systemctl show -p User -p NotifyAccess -p WatchdogUSec oncegate | sort
stat -c '%U %a' /var/lib/oncegate
systemctl reload oncegate && systemctl is-active oncegate

step "a wrong configuration stops it for good, and says what is wrong"
cp /var/lib/oncegate/oncegate.toml right.toml
echo 'bogus = 1' >>/var/lib/oncegate/oncegate.toml
systemctl restart oncegate 2>/dev/null || echo "refused"
sleep 2
systemctl show -p NRestarts --value oncegate
journalctl -u oncegate -o cat --no-pager | grep -o 'oncegate.toml:[0-9]*' | tail -1 | sed 's/[0-9]*$/LINE/'
cp right.toml /var/lib/oncegate/oncegate.toml
chown oncegate: /var/lib/oncegate/oncegate.toml
systemctl reset-failed oncegate
systemctl start oncegate
systemctl is-active oncegate

step "the journal has its lines with their fields"
sed -i 's/^# format = "text"/format = "journald"/' /var/lib/oncegate/oncegate.toml
systemctl restart oncegate
journalctl -u oncegate -o json --no-pager PRIORITY=6 ONCEGATE_DIR=/var/lib/oncegate | grep -o '"MESSAGE":"[a-z]*"' | tail -n 1 | tr -d '"'

step "after a kill it is there again, and remembers"
before=$(systemctl show -p MainPID --value oncegate)
kill -9 "$before"
for _ in $(seq 100); do
    sleep 0.1
    now=$(systemctl show -p MainPID --value oncegate)
    [ "$now" != 0 ] && [ "$now" != "$before" ] && systemctl is-active --quiet oncegate && break
done
systemctl is-active oncegate
login 0
login 1

step "upgrade"
before=$(systemctl show -p MainPID --value oncegate)
dpkg -i "$2" >/dev/null 2>&1
systemctl is-active oncegate
[ "$(systemctl show -p MainPID --value oncegate)" != "$before" ] && echo restarted
dpkg-query -W -f '${Version}\n' oncegate
login 1
login 2

step "by sockets that systemd keeps: asked while it is stopped, it answers"
systemctl stop oncegate
systemctl start oncegate.socket
systemctl is-active oncegate || true
patience=20 login 2
login 3
systemctl is-active oncegate
ss -lun 'sport = :1812' | grep -c 1812

step "removal leaves the store"
dpkg -r oncegate >/dev/null 2>&1
systemctl is-active oncegate || true
ls /var/lib/oncegate/store/main.redb
dpkg --purge oncegate 2>&1 | grep '^oncegate:'
ls /var/lib/oncegate/store/main.redb

step "and it comes back"
dpkg -i "$2" >/dev/null 2>&1
systemctl is-active oncegate
login 3
login 4

step "root works on the stopped store, and the daemon's user goes on with it"
systemctl stop oncegate
oncegate $dir --json key rotate >/dev/null
oncegate $dir --json store verify >/dev/null
oncegate $dir --json backup backup >/dev/null
find /var/lib/oncegate -user root
systemctl start oncegate
systemctl is-active oncegate
login 4
login 5

step "the master key is a credential, and a second witness lies on another disk"
systemctl stop oncegate
mkdir /etc/oncegate /etc/systemd/system/oncegate.service.d
mv /var/lib/oncegate/master.key /etc/oncegate/
install -d -o oncegate -g oncegate -m 0700 /srv/other-disk
cat >/etc/systemd/system/oncegate.service.d/local.conf <<'UNIT'
[Service]
LoadCredential=master.key:/etc/oncegate/master.key
ReadWritePaths=/srv/other-disk
UNIT
sed -i 's/^# master = .*/master = "credential:master.key"/' /var/lib/oncegate/oncegate.toml
sed -i 's#^\# witness = .*#witness = ["witness", "/srv/other-disk/oncegate.witness"]#' /var/lib/oncegate/oncegate.toml
systemctl daemon-reload
systemctl start oncegate
systemctl is-active oncegate
login 5
login 6
systemctl stop oncegate
stat -c '%U %n' /srv/other-disk/*
oncegate $dir store verify 2>&1 | grep -o 'systemd-run[^.]*'
systemd-run --pipe --quiet --uid=oncegate -p LoadCredential=master.key:/etc/oncegate/master.key \
    oncegate $dir --json store verify | python3 -c 'import json, sys; print(json.load(sys.stdin)["intact"])'

step "a store that root restores is the daemon's"
mv /etc/oncegate/master.key /var/lib/oncegate/
rm -r /etc/systemd/system/oncegate.service.d /var/lib/oncegate/store
sed -i '/^master = /d; /^witness = /d' /var/lib/oncegate/oncegate.toml
systemctl daemon-reload
oncegate $dir --json restore backup >/dev/null
find /var/lib/oncegate -user root
systemctl start oncegate
systemctl is-active oncegate
journalctl -u oncegate -o cat --no-pager | grep -c 'lower priority' || true
