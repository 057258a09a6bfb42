#!/bin/bash
# Runs inside the booted container, as root, after inside.sh: instances of the units with @,
# which have only the rights they need, do the whole job. It uses what inside.sh defines.
tree=/srv/photos copy=/var/lib/tidemark/copy
exposed() { # UNIT TENTHS : at most so much
	systemd-analyze security --no-pager --threshold="$2" "$1" >/srv/security 2>&1 && echo yes || tail -n 1 /srv/security
}
armed() { tidemark-watch --status $tree | sed -n 's/^backend: //p'; }
pid() { systemctl show -p MainPID --value "$1"; }
caps() { sed -n 's/^Cap'"$2"':\t//p' "/proc/$(pid "$1")/status"; }
drop() { # UNIT NAME TEXT : a drop-in, as systemctl edit makes it
	mkdir -p "/etc/systemd/system/$1.d"
	printf '%s\n' "$3" >"/etc/systemd/system/$1.d/$2.conf"
	systemctl daemon-reload
}
settled() { # what was done so far is in the copy
	local stamp
	stamp=$(timeout 10 tidemark-watch --sync $tree) && timeout 10 tidemark-mirror --wait-for "$stamp" $copy
}
is_gone() { [ ! -e "$1" ]; }

systemctl start tidemark-watch@photos tidemark-serve@photos.socket
is 'serve@ waits for its socket' inactive "$(systemctl is-active tidemark-serve@photos)"
systemctl start tidemark-mirror@copy tidemark-serve@copy
within 20 tidemark-mirror --check 1h $copy
for unit in watch@photos serve@photos mirror@copy serve@copy; do
	is "$unit runs" active "$(systemctl is-active "tidemark-$unit")"
done
is 'watch@ hears by fanotify' fanotify "$(armed)"
is 'watch@ runs as its own user' tidemark-watch "$(stat -c %U "/proc/$(pid tidemark-watch@photos)")"
is 'mirror@ has no rights' 0000000000000000 "$(caps tidemark-mirror@copy Bnd)"
is 'serve@ has no rights' 0000000000000000 "$(caps tidemark-serve@photos Bnd)"
is 'exposure of watch@' yes "$(exposed tidemark-watch@photos.service 22)"
is 'exposure of serve@' yes "$(exposed tidemark-serve@photos.service 16)"
is 'exposure of mirror@' yes "$(exposed tidemark-mirror@copy.service 16)"
is 'openat2 is not refused' 0 "$(systemctl show -p RestrictSUIDSGID --value tidemark-serve@photos | grep -c yes)"

is 'mirror@ has what came before it' first "$(cat $copy/a/file)"
is 'a change arrives at mirror@' changed "$(arrives a/file changed)"
is 'a change in a directory of another user arrives' theirs "$(arrives theirs/file theirs)"
is 'a change in a new directory arrives at mirror@' new "$(mkdir $tree/new && arrives new/file new)"
is 'what serve@ may not read is not copied' no "$([ -e $copy/secret/file ] && echo yes || echo no)"
ln $tree/a/file $tree/a/twin && ln -s file $tree/a/link && mkdir -m 750 $tree/shared && touch $tree/shared/file && chmod 4755 $tree/a/file && settled
is 'hard links, symlinks and modes arrive' '2 file 755 750' "$(stat -c %h $copy/a/twin) $(readlink $copy/a/link) $(stat -c %a $copy/a/file) $(stat -c %a $copy/shared)"
chmod 2750 $copy/shared && chmod 755 $tree/shared && settled
is 'a setgid bit of the copy stays' 2755 "$(stat -c %a $copy/shared)"
rm -r $tree/new && settled
within 5 is_gone $copy/new
is 'a deletion arrives, and is kept in the backup' 'gone new' "$([ -e $copy/new ] || echo gone) $(cat $copy/.tidemark/backup/*/new/file)"
is 'a copy of the copy is served' 200 "$(status /a/file)"
within 10 grep -q a/file /srv/hook/paths
is 'the command of --exec runs, without rights' '0000000000000000 found' "$(cat /srv/hook/rights) $(grep -q a/file /srv/hook/paths && echo found)"
is 'metrics are there' 200 "$(port=9101 status /metrics)"
is 'serve@ is found by --status' unix:/run/tidemark/photos.sock "$(tidemark-serve --status $tree | grep -o 'unix:/run/tidemark/photos.sock' | head -n 1)"

systemctl stop tidemark-serve@photos.service
is 'the socket starts serve@ again' back "$(arrives a/file back)"
for unit in watch@photos serve@photos mirror@copy; do
	before=$(restarts $unit)
	kill -ABRT "$(main $unit)"
	within 20 again $unit "$before"
	is "$unit is started again after a watchdog's signal" yes "$(again $unit "$before" && echo yes)"
done
is 'a change arrives at mirror@ after that' again "$(arrives a/file again)"
within 20 more 0
before=$(audits)
is 'reload of watch@ is accepted' yes "$(systemctl reload tidemark-watch@photos && echo yes)"
within 20 more "$before"
is 'reload of watch@ asks for an audit' yes "$(more "$before" && echo yes || audits)"

mkdir -p /etc/systemd/system/tidemark-watch@.service.d
cp /usr/share/doc/tidemark/examples/inotify.conf /etc/systemd/system/tidemark-watch@.service.d/
systemctl daemon-reload && systemctl restart tidemark-watch@photos
is 'watch@ without CAP_SYS_ADMIN hears by inotify' inotify "$(armed)"
is 'exposure of watch@ without CAP_SYS_ADMIN' yes "$(exposed tidemark-watch@photos.service 17)"
is 'a change arrives by inotify' inotify "$(arrives theirs/file inotify)"

chown 1234:1234 $tree/a/file
echo TIDEMARK_SERVE_OWNER=true >>/etc/tidemark/photos.env
echo TIDEMARK_MIRROR_OWNER=true >>/etc/tidemark/copy.env
drop tidemark-mirror@copy.service owner "$(cat /usr/share/doc/tidemark/examples/owner.conf)"
systemctl restart tidemark-serve@photos tidemark-mirror@copy
owned() { [ "$(stat -c %u:%g $copy/a/file)" = 1234:1234 ]; }
within 20 owned
is 'owners arrive with owner.conf' 1234:1234 "$(stat -c %u:%g $copy/a/file)"

# A tree that the unit does not let watch write, and the drop-in that its comment names.
systemctl start tidemark-watch@tank
said() { journalctl --no-pager -o cat -u tidemark-watch@tank | grep -q 'name the directory in ReadWritePaths='; }
within 5 said
is 'watch@ may not write elsewhere, and says what to do' yes "$(said && echo yes)"
drop tidemark-watch@tank.service places $'[Service]\nReadWritePaths=/tank'
systemctl restart tidemark-watch@tank
is 'with a drop-in it may' active "$(systemctl is-active tidemark-watch@tank)"
is 'an instance without options is refused' 'no' "$(systemctl start tidemark-watch@nobody 2>/dev/null && echo yes || echo no)"
# EnvironmentFile= is a pattern, and takes the backslash of an escaped name for a quote: the file that
# AssertPathExists= had found was not there, every two seconds for ever; clients of the socket hung.
echo TIDEMARK_WATCH_DIR=/srv/tree >'/etc/tidemark/a\x20b.env'
for unit in watch serve mirror; do
	is "a name that systemd escapes is refused by $unit@, and not tried again" inactive "$(systemctl start "tidemark-$unit@a\x20b" 2>/dev/null; systemctl is-active "tidemark-$unit@a\x20b")"
done
is 'the socket of such a name, too' inactive "$(systemctl start 'tidemark-serve@a\x20b.socket' 2>/dev/null; systemctl is-active 'tidemark-serve@a\x20b.socket')"

# Both started at once, serve warned that no watch ever ran there.
mkdir /srv/fresh
printf 'TIDEMARK_WATCH_DIR=/srv/fresh\nTIDEMARK_SERVE_DIR=/srv/fresh\nTIDEMARK_SERVE_LISTEN=127.0.0.1:8090\n' >/etc/tidemark/fresh.env
drop tidemark-watch@fresh.service late $'[Service]\nExecStartPre=/bin/sleep 1'
systemctl start tidemark-watch@fresh tidemark-serve@fresh
is 'serve@ waits for watch@ of the same name' 'active 0' "$(systemctl is-active tidemark-serve@fresh) $(journalctl --no-pager -o cat -u tidemark-serve@fresh | grep -c 'no watch ever ran')"
systemctl stop tidemark-serve@fresh

# Where its socket had given up, serve@ that was started by hand listened at a port instead.
systemctl -q enable tidemark-serve@fresh.socket
systemctl start tidemark-serve@fresh.service
is 'serve@ does not start without its socket' 'active unix:/run/tidemark/fresh.sock' "$(systemctl is-active tidemark-serve@fresh.socket) $(tidemark-serve --status /srv/fresh | grep -o 'unix:/run/tidemark/fresh.sock' | head -n 1)"
systemctl -q disable tidemark-serve@fresh.socket
systemctl stop tidemark-serve@fresh.socket tidemark-serve@fresh.service tidemark-watch@fresh

# A disk of its own, with the drop-in of docs/services.md. Without its WantedBy= nothing started when a disk
# that had gone was mounted again.
mkdir /srv/disk
echo 'disk /srv/disk tmpfs nofail,noauto,mode=755 0 0' >>/etc/fstab
printf 'TIDEMARK_WATCH_DIR=/srv/disk\nTIDEMARK_SERVE_DIR=/srv/disk\nTIDEMARK_SERVE_LISTEN=127.0.0.1:8091\n' >/etc/tidemark/disk.env
for unit in watch serve; do
	drop tidemark-$unit@disk.service disk $'[Unit]\nRequiresMountsFor=/srv/disk\n[Install]\nWantedBy=srv-disk.mount'
	systemctl -q reenable tidemark-$unit@disk
done
both() { [ "$(systemctl is-active tidemark-watch@disk tidemark-serve@disk | sort -u)" = "$1" ]; }
for time in first second; do
	mount /srv/disk
	within 20 both active
	is "units begin when their disk is mounted, the $time time" yes "$(both active && echo yes)"
	systemctl stop srv-disk.mount
	is "they end before it goes, the $time time" 'yes gone' "$(both inactive && echo yes) $(findmnt -n /srv/disk || echo gone)"
done

# From the units without @, as docs/services.md has it.
systemctl stop tidemark-serve@copy
cat /etc/default/tidemark-watch /etc/default/tidemark-serve /etc/default/tidemark-mirror >/etc/tidemark/old.env
chown -R tidemark:tidemark /srv/copy
systemctl start tidemark-watch@old tidemark-serve@old tidemark-mirror@old
tree=/srv/tree copy=/srv/copy
is 'a change arrives at the copy that was root'"'"'s' mine "$(arrives a/file mine)"
is 'its files are those of the user of mirror@' tidemark "$(stat -c %U $copy/a/file)"
systemctl stop tidemark-mirror@old tidemark-serve@old tidemark-watch@old

systemctl stop tidemark-mirror@copy tidemark-serve@copy tidemark-serve@photos.socket tidemark-serve@photos.service tidemark-watch@photos tidemark-watch@tank
for unit in watch@photos serve@photos mirror@copy; do
	is "$unit stops by itself" success "$(systemctl show -p Result --value tidemark-$unit)"
done
