#!/bin/bash
# Runs inside the booted container, as root: what the Debian package does as it comes and goes.
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
version() { "/usr/bin/tidemark-$1" --version | cut -d' ' -f2; }
pids() { for u in $units; do systemctl show -p MainPID --value "tidemark-$u"; done; }
running() { systemctl is-active $(printf 'tidemark-%s ' $units) | sort | uniq -c | tr -s ' '; }
programs() { for p in $(pids); do readlink "/proc/$p/exe"; done | sort -u | tr '\n' ' '; }
arrives() { # TEXT
	local stamp
	echo "$1" >/srv/tree/file
	stamp=$(timeout 10 tidemark-watch --sync /srv/tree) && timeout 10 tidemark-mirror --wait-for "$stamp" /var/lib/tidemark/copy
	cat /var/lib/tidemark/copy/file
}
units='watch@tree serve@tree mirror@copy'

dpkg -i /srv/old.deb >&2
is 'it installs' 'ii 1.0.0-1' "$(dpkg-query -W -f '${db:Status-Abbrev}${Version}' tidemark)"
is 'directories are there' '750 root:tidemark 755 tidemark:tidemark 755 tidemark:tidemark ' "$(stat -c '%a %U:%G' /etc/tidemark /var/lib/tidemark /run/tidemark | tr '\n' ' ')"
is 'nothing runs that nobody asked for' '' "$(systemctl list-units --plain --no-legend 'tidemark*')"
is 'its files are those that were packed' '' "$(dpkg --verify tidemark)"

mkdir -p /srv/tree
printf 'TIDEMARK_WATCH_DIR=/srv/tree\nTIDEMARK_SERVE_DIR=/srv/tree\n' >/etc/tidemark/tree.env
printf 'TIDEMARK_MIRROR_SOURCE=http://127.0.0.1:8077/\nTIDEMARK_MIRROR_DEST=/var/lib/tidemark/copy\n' >/etc/tidemark/copy.env
systemctl enable --now $(printf 'tidemark-%s ' $units)
within 20 tidemark-mirror --check 1h /var/lib/tidemark/copy
is 'its units run' ' 3 active' "$(running)"
is 'a change arrives' one "$(arrives one)"

before=$(pids)
dpkg -i /srv/new.deb >&2
is 'it is upgraded' 'ii 1.0.1-1 1.0.1' "$(dpkg-query -W -f '${db:Status-Abbrev}${Version}' tidemark) $(version watch)"
within 20 tidemark-mirror --check 1h /var/lib/tidemark/copy
is 'all run after the upgrade' ' 3 active' "$(running)"
is 'they are the new programs' '/usr/bin/tidemark-mirror /usr/bin/tidemark-serve /usr/bin/tidemark-watch ' "$(programs)"
is 'each was started anew' '' "$(comm -12 <(echo "$before" | sort) <(pids | sort))"
is 'a change arrives after the upgrade' two "$(arrives two)"

dpkg -r tidemark >&2
is 'it is removed' 'rc ' "$(dpkg-query -W -f '${db:Status-Abbrev}' tidemark)"
is 'nothing of it runs' '' "$(systemctl list-units --plain --no-legend --state=active 'tidemark*')$(ls /proc/[0-9]*/exe | xargs -n 1 readlink | grep tidemark)"
is 'programs and units are gone, options and copy are not' 'copy.env tree.env two' "$(ls /usr/bin/tidemark-* /usr/lib/systemd/system/tidemark* 2>/dev/null)$(ls /etc/tidemark | tr '\n' ' ')$(cat /var/lib/tidemark/copy/file)"

dpkg -i /srv/new.deb >&2
systemctl start $(printf 'tidemark-%s ' $units)
within 20 tidemark-mirror --check 1h /var/lib/tidemark/copy
is 'it comes back with its options' three "$(arrives three)"

systemctl -q enable tidemark-serve@tree.socket
dpkg -P tidemark >/srv/purge 2>&1
is 'it is purged' '' "$(dpkg-query -W -f '${db:Status-Abbrev}' tidemark 2>/dev/null | grep -v un)"
is 'options and enabled units are gone' '' "$(ls -d /etc/tidemark /run/tidemark /etc/systemd/system/*.wants/tidemark* /etc/systemd/system/tidemark*.requires 2>/dev/null)"
is 'no copy is deleted, and that is said' 'three 1' "$(cat /var/lib/tidemark/copy/file) $(grep -c 'in /var/lib/tidemark stays' /srv/purge)"
journalctl --no-pager -o cat -u 'tidemark-*' >/srv/journal 2>&1
echo 'ok end'
