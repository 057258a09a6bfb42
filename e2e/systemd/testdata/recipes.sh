#!/bin/bash
# Runs inside the booted container, as root: the blocks of the recipes, in their order, and looks at what came of them.
# Each line of its output is "ok NAME" or "FAIL NAME: what was seen".
is() { # NAME WANTED SEEN
	if [ "$2" = "$3" ]; then echo "ok $1"; else echo "FAIL $1: want $2, saw $3"; fi
}
within() { # SECONDS COMMAND... : until it succeeds
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}
sudo() { "$@"; } # root needs none, and a small Debian has none
export -f sudo
cd /srv
touch vars
for block in /srv/blocks/*; do
	name="$(basename "$block") $(sed -n '1s/^# //p' "$block")"
	{ cat vars "$block"; echo; echo 'declare -p stamp >/srv/vars 2>/dev/null || true'; } >/srv/run
	echo "== $name" >&2
	if timeout 60 bash -e -o pipefail /srv/run </dev/null >/srv/said 2>&1; then
		echo "ok $name"
	else
		echo "FAIL $name: $(tail -n 5 /srv/said | tr '\n' ' ')"
	fi
	cat /srv/said >&2
done

units='watch@tree serve@tree mirror@copy serve@copy mirror@leaf watch@nfs serve@nfs mirror@nfs'
for unit in $units; do
	is "$unit runs, and was never started again" 'active 0' "$(systemctl is-active tidemark-$unit) $(systemctl show -p NRestarts --value tidemark-$unit)"
done
is 'the source is watched by fanotify' 'watched fanotify' "$(tidemark-watch --status /srv/tree | sed -n 's/^state: //p; s/^backend: //p' | tr '\n' ' ' | sed 's/ $//')"
is 'the copy has what was made behind Caddy' '' "$(cmp /srv/tree/behind-caddy /var/lib/tidemark/copy/behind-caddy 2>&1)"
within 10 cmp /srv/tree/behind-caddy /var/lib/tidemark/leaf/behind-caddy
is 'so has the leaf' '' "$(cmp /srv/tree/behind-caddy /var/lib/tidemark/leaf/behind-caddy 2>&1)"
is 'nobody gets in without a token' 401 "$(curl -s -o /dev/null -w '%{http_code}' --cacert /etc/ssl/tidemark.pem https://mirror.example.org/tree/)"
echo three >/srv/nfs/file
within 90 test -e /var/lib/tidemark/nfs/file
is 'what changes without an event arrives by an audit' three "$(cat /var/lib/tidemark/nfs/file)"

# A token is exchanged without a restart, as the recipe says.
echo another >>/etc/tidemark/tokens
is 'reload is accepted' yes "$(timeout 20 systemctl reload tidemark-serve@tree tidemark-mirror@copy tidemark-watch@tree && echo yes)"
is 'a new token counts at once' 200 "$(curl -s -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer another' http://127.0.0.1:8077/)"
within 10 sh -c '[ "$(systemctl is-active tidemark-serve@tree)" = active ]'
is 'it is active after a reload' 'active active active' "$(systemctl is-active tidemark-serve@tree tidemark-mirror@copy tidemark-watch@tree | tr '\n' ' ' | sed 's/ $//')"
for unit in watch@tree serve@tree mirror@copy; do
	systemctl kill -s USR1 "tidemark-$unit"
	within 10 sh -c "journalctl -o cat -u tidemark-$unit | grep -q '^msg=status state='"
	is "$unit puts its status into the journal" 1 "$(journalctl -o cat -u tidemark-$unit | grep -c '^msg=status state=\(watched\|mirrored\|auditing\)')"
done
journalctl --no-pager -o cat -u 'tidemark-*' >/srv/journal 2>&1
echo 'ok end'
