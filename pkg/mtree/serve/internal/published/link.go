package published

import (
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// ShowLink returns what stands for a symlink of the directory at dir in the formats that
// follow symlinks: the file or directory that it leads to, under the symlink's name, of
// kind Other if nothing published is there; and the href by which to ask for it, nil in
// that case. The href of a directory is the directory's own path, so that a reader that
// descends comes to an end. An error leaves open what is there. Cost: a few system calls
// for each component.
func (t *Tree) ShowLink(dir string, e mtree.Entry) (shown mtree.Entry, href []byte, err error) {
	path, info, err := t.leadsTo(mtree.JoinPath(dir, e.Name))
	if e.Kind = info.Kind; e.Kind == mtree.Other || path == "" {
		e.Kind = mtree.Other
		return e, nil, err
	}
	e.Size, e.Mode, e.MTime, e.CTime = info.Size, info.Mode, info.MTime, info.CTime
	if e.Kind == mtree.Dir {
		return e, Relative(dir, path), nil
	}
	return e, wire.AppendURLPath(nil, e.Name), nil
}

// leadsTo returns where a symlink leads and what is there. A symlink that leads nowhere is
// followed once more: it may have been replaced meanwhile.
func (t *Tree) leadsTo(link string) (path string, info disk.Info, err error) {
	for range 2 {
		if path, info, err = t.follow(link); info.Kind != mtree.Other {
			break
		}
	}
	return path, info, err
}

// Resolve follows the symlinks in path and returns where they lead: a path without
// symlinks, and the kind of what is there, Other if that is outside the root, hidden,
// missing or of another type. An error leaves open what is there; the kind is Other then.
func (t *Tree) Resolve(path string) (real string, kind mtree.Kind, err error) {
	real, info, err := t.follow(path)
	return real, info.Kind, err
}

// retypeTries is how often a path is followed if its end is replaced each time meanwhile.
const retypeTries = 10

// follow does what Resolve does, and returns all that lstat shows. For the root it
// returns only that it is a directory.
func (t *Tree) follow(path string) (real string, info disk.Info, err error) {
	other := disk.Info{Kind: mtree.Other}
	for range retypeTries {
		real, err := t.root.Resolve(path, t.Crosses())
		if err != nil || mtree.CheckPath(real) != nil {
			return "", other, unknown(err)
		}
		if real == "" {
			return "", disk.Info{Kind: mtree.Dir}, nil
		}
		info, err := t.root.StatPath(real, t.Crosses())
		if err == nil { // guard: TestSubvolumesAreNotOpened
			err = t.inSubvolume(real, info)
		}
		if err != nil && !disk.IsGone(err) {
			return "", other, unknown(err)
		}
		if err != nil || info.Kind == mtree.Symlink {
			continue
		}
		if t.Hides(real, info.Kind == mtree.Dir) {
			break
		}
		if err := t.vouched(mtree.ParentPath(real)); err != nil {
			return "", other, unknown(err) // guard (returns "", other, nil): TestLinksWhileExceptionsCannotBeRead
		}
		return real, info, nil
	}
	return "", other, nil
}

// unknown returns err if it leaves open what is at a path: the disk failed, say. If nothing
// can be there that is published, it returns nil.
func unknown(err error) error {
	if disk.IsAbsent(err) || disk.IsUnreadable(err) { // not EPERM: nothing shows when its cause has gone
		return nil
	}
	return err // guard (returns nil): TestLinksOnADiskThatFails
}

// Relative returns the href of the directory to on the page of the directory from. It is
// never absolute, so that it holds under any prefix of a proxy.
func Relative(from, to string) []byte {
	common := 0
	for i := 0; i <= len(from) && i <= len(to); i++ {
		endFrom, endTo := i == len(from) || from[i] == '/', i == len(to) || to[i] == '/'
		if endFrom && endTo && from[:i] == to[:i] {
			common = i
		}
	}
	up := strings.Trim(from[common:], "/")
	down := strings.Trim(to[common:], "/")
	var href []byte
	if up != "" {
		href = append(href, strings.Repeat("../", strings.Count(up, "/")+1)...)
	}
	for part := range strings.SplitSeq(down, "/") {
		if part != "" {
			href = append(wire.AppendURLPath(href, part), '/')
		}
	}
	if len(href) == 0 {
		return []byte("./")
	}
	return href
}
