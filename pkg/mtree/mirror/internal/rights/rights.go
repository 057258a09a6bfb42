// Package rights says which permission bits and owners the entries of a copy get in place of those that
// the source lists: --chmod and --chown.
//
//	rules, err := rights.Parse([]string{"D755,F644"}, "root:www-data", false)
//	entries = rules.Apply(entries, umask)
//
// It is pure, but for the look at the users and groups of this machine.
package rights

import (
	"fmt"
	"math"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tidemark/pkg/mtree"
)

// Rules are what Parse read. A nil *Rules changes nothing. Several goroutines may use them.
type Rules struct {
	changes  []change
	owns     bool
	listed   bool  // owners are copied, too
	uid, gid int64 // -1: as listed, if owners are copied and it is; else that of this process
}

// change is one change of permission bits.
type change struct {
	dirs, files bool   // what it is for
	op          byte   // '+', '-', '='
	who         uint32 // bits of those it is for: 0o700, 0o070 and 0o007
	masked      bool   // nobody was named: all, without what the umask takes
	perm        uint32 // 'r', 'w', 'x', three times
	ifExec      bool   // 'X': what '+' and '=' give has 'x' for directories only, and where somebody may execute the file already
}

// syntax is one part of --chmod: rsync's, which is that of chmod(1) with D and F before it.
var syntax = regexp.MustCompile(`^([DF]?)(?:([0-7]{3,4})|([ugoa]*)([-+=])([rwxX]*))$`)

// Parse reads the values of --chmod, each a list like "D755,F644,u+rX", and that of --chown: "USER",
// "USER:GROUP" or ":GROUP", by name or number. listed says that owners are copied, too. If neither
// value says anything, it returns nil.
func Parse(chmod []string, chown string, listed bool) (*Rules, error) {
	r := &Rules{listed: listed, uid: -1, gid: -1}
	for _, list := range chmod {
		for part := range strings.SplitSeq(list, ",") {
			c, err := parseChange(part)
			if err != nil {
				return nil, err
			}
			r.changes = append(r.changes, c)
		}
	}
	if chown != "" {
		name, group, _ := strings.Cut(chown, ":")
		var err error
		if r.uid, err = idOf(name, userID); err != nil {
			return nil, fmt.Errorf("--chown %q: %w", chown, err)
		}
		if r.gid, err = idOf(group, groupID); err != nil {
			return nil, fmt.Errorf("--chown %q: %w", chown, err)
		}
		if r.owns = r.uid >= 0 || r.gid >= 0; !r.owns {
			return nil, fmt.Errorf("--chown %q: neither user nor group", chown)
		}
	}
	if !r.owns && len(r.changes) == 0 {
		return nil, nil
	}
	return r, nil
}

// parseChange reads one part of a list.
func parseChange(part string) (c change, err error) {
	m := syntax.FindStringSubmatch(part)
	if m == nil {
		return c, fmt.Errorf("--chmod %q: want D755, F644, u+rwX, go-w or the like", part)
	}
	c.dirs, c.files = m[1] != "F", m[1] != "D"
	if m[2] != "" {
		mode, _ := strconv.ParseUint(m[2], 8, 32)
		if mode > 0o777 {
			return c, fmt.Errorf("--chmod %q: mirror copies no set-user-ID, set-group-ID and sticky bits", part)
		}
		c.op, c.who, c.perm = '=', 0o777, uint32(mode)
		return c, nil
	}
	for _, who := range m[3] {
		c.who |= map[rune]uint32{'u': 0o700, 'g': 0o070, 'o': 0o007, 'a': 0o777}[who]
	}
	if c.op = m[4][0]; c.who == 0 {
		c.who, c.masked = 0o777, true
	}
	for _, perm := range m[5] {
		c.perm |= map[rune]uint32{'r': 0o444, 'w': 0o222, 'x': 0o111, 'X': 0o111}[perm]
		c.ifExec = c.ifExec || perm == 'X'
	}
	return c, nil
}

func userID(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func groupID(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

// idOf returns the number of a user or group; -1 if none is named.
func idOf(name string, look func(string) (string, error)) (int64, error) {
	if name == "" {
		return -1, nil
	}
	id, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		var number string
		if number, err = look(name); err != nil {
			return 0, err
		}
		id, err = strconv.ParseUint(number, 10, 32)
	}
	if err == nil && id == math.MaxUint32 { // chown(2) takes it for "as it is"
		err = fmt.Errorf("%s is nobody's number", name)
	}
	return int64(id), err
}

// Owns reports whether there is an owner to set.
func (r *Rules) Owns() bool { return r != nil && r.owns }

// Apply returns entries with the modes and owners that they shall have. umask is that of this process:
// it counts where chmod(1) lets it count, and for entries of which the source tells no mode. The slice
// given stays as it is.
func (r *Rules) Apply(entries []mtree.Entry, umask uint32) []mtree.Entry {
	if r == nil {
		return entries
	}
	out := slices.Clone(entries)
	for i := range out {
		r.applyTo(&out[i], umask)
	}
	return out
}

func (r *Rules) applyTo(e *mtree.Entry, umask uint32) {
	if len(r.changes) > 0 && (e.Kind == mtree.Dir || e.Kind == mtree.File) {
		if e.Has&mtree.HasMode == 0 {
			e.Has |= mtree.HasMode
			e.Mode = 0o666 &^ umask
			if e.Kind == mtree.Dir {
				e.Mode = 0o777 &^ umask
			}
		}
		was := e.Mode
		for i := range r.changes {
			e.Mode = r.changes[i].of(e.Mode, was, e.Kind == mtree.Dir, umask)
		}
	}
	if r.owns {
		if e.Has&mtree.HasOwner == 0 || !r.listed {
			e.Has |= mtree.HasOwner
			e.UID, e.GID = uint32(os.Geteuid()), uint32(os.Getegid())
		}
		if r.uid >= 0 {
			e.UID = uint32(r.uid)
		}
		if r.gid >= 0 {
			e.GID = uint32(r.gid)
		}
	}
}

// of returns what becomes of a mode. was is what the entry had before all changes.
func (c *change) of(mode, was uint32, isDir bool, umask uint32) uint32 {
	if isDir && !c.dirs || !isDir && !c.files {
		return mode
	}
	who, perm := c.who, c.perm
	if c.ifExec && !isDir && was&0o111 == 0 && c.op != '-' { // guard: TestModes
		perm &^= 0o111
	}
	if c.masked {
		perm &^= umask
	}
	switch c.op {
	case '+':
		return mode | who&perm
	case '-':
		return mode &^ (who & perm)
	}
	return mode&^who | who&perm
}

// Lines returns what the tree file records: a change of it makes a full walk due.
func Lines(chmod []string, chown string) (lines []string) {
	if all := strings.Join(chmod, ","); all != "" {
		lines = append(lines, chmodLine+all)
	}
	if chown != "" {
		lines = append(lines, chownLine+chown)
	}
	return lines
}

const (
	chmodLine = "chmod "
	chownLine = "chown "
)

// ParseLine reads one of Lines.
func ParseLine(line string) (chmod, chown string, ok bool) {
	chmod, isMode := strings.CutPrefix(line, chmodLine)
	chown, isOwner := strings.CutPrefix(line, chownLine)
	switch {
	case isMode:
		return chmod, "", true
	case isOwner:
		return "", chown, true
	}
	return "", "", false
}
