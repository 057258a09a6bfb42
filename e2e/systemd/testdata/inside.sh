#!/bin/bash
# Runs inside the booted container, as root, when the three units are to run.
# Each line of its output is "ok NAME" or "FAIL NAME: what was seen".
tree=/srv/tree copy=/srv/copy
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
get() { # PATH : the status line and the body
	exec 3<>"/dev/tcp/127.0.0.1/${port:-8077}" || return
	printf 'GET %s HTTP/1.0\r\nHost: x\r\nUser-Agent: curl/8\r\n\r\n' "$1" >&3
	cat <&3
	exec 3>&-
}
status() { get "$1" | head -n 1 | tr -d '\r' | cut -d' ' -f2; }
restarts() { systemctl show -p NRestarts --value "tidemark-$1"; }
main() { systemctl show -p MainPID --value "tidemark-$1"; }
arrives() { # FILE TEXT : a change made now is in the copy soon
	echo "$2" >"$tree/$1"
	local stamp
	stamp=$(timeout 10 tidemark-watch --sync $tree) || { echo "no sync"; return; }
	timeout 10 tidemark-mirror --wait-for "$stamp" $copy || { echo "no wait-for"; return; }
	cat "$copy/$1"
}
again() { # UNIT RESTARTS : it runs anew
	[ "$(restarts "$1")" -gt "$2" ] && [ "$(systemctl is-active "tidemark-$1")" = active ]
}

for unit in watch serve mirror; do
	within 20 systemctl -q is-active tidemark-$unit
	is "$unit runs" active "$(systemctl is-active tidemark-$unit)"
done
is 'serve answers with a listing' 200 "$(status /)"
is 'serve answers with a file' 200 "$(status /a/file)"
is 'serve answers below what it reads with 403' 403 "$(status /secret/)"
within 20 tidemark-mirror --status $copy
is 'a change arrives' changed "$(arrives a/file changed)"
is 'a change in a new directory arrives' new "$(mkdir $tree/new && arrives new/file new)"
for unit in watch serve mirror; do
	before=$(restarts $unit) pid=$(main $unit)
	if [ "$pid" != 0 ]; then kill -ABRT "$pid"; fi
	within 20 again $unit "$before"
	is "$unit is started again after a watchdog's signal" 'yes' "$(again $unit "$before" && echo yes || systemctl show -p Result --value tidemark-$unit)"
done
is 'a change arrives after that' again "$(arrives a/file again)"

# The unit's ExecReload= named /bin/kill, which a small Debian does not have.
audits() { tidemark-watch --status $tree | sed -n 's/^audits_total: //p'; }
more() { [ "$(audits)" -gt "$1" ]; }
within 20 more 0
before=$(audits)
is 'reload is accepted' 'yes' "$(systemctl reload tidemark-watch && echo yes)"
within 20 more "$before"
is 'reload asks for an audit' 'yes' "$(more "$before" && echo yes || audits)"

# Wrong options are not tried again.
echo TIDEMARK_SERVE_MAX_WAITERS=many >>/etc/default/tidemark-serve
systemctl restart tidemark-serve
within 10 systemctl -q is-failed tidemark-serve
is 'wrong options are told, and not tried again' 'failed 2' "$(systemctl is-active tidemark-serve) $(systemctl show -p ExecMainStatus --value tidemark-serve)"
sed -i '$d' /etc/default/tidemark-serve
systemctl reset-failed tidemark-serve
systemctl start tidemark-serve
is 'serve runs with right options' 200 "$(status /)"

systemctl stop tidemark-mirror tidemark-serve tidemark-watch
for unit in watch serve mirror; do
	is "$unit stops by itself" success "$(systemctl show -p Result --value tidemark-$unit)"
done
. /usr/local/lib/instances.sh
systemctl --no-pager --lines=50 --all status 'tidemark-*' >/srv/status 2>&1
journalctl --no-pager -o cat -u 'tidemark-*' >/srv/journal 2>&1
echo 'ok end'
