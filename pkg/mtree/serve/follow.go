package serve

import (
	"strings"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/wire"
)

// showLink returns what stands for a symlink of the directory at dir in the formats that
// follow symlinks: see render.Options. A directory is named by its own path, so that a
// reader who goes down comes to an end.
func (h *Handler) showLink(dir string, e mtree.Entry) (shown mtree.Entry, href []byte) {
	path, info := h.leadsTo(mtree.JoinPath(dir, e.Name))
	if e.Kind = info.Kind; e.Kind == mtree.Other || path == "" {
		e.Kind = mtree.Other
		return e, nil
	}
	e.Size, e.Mode, e.MTime, e.CTime = info.Size, info.Mode, info.MTime, info.CTime
	if e.Kind == mtree.Dir {
		return e, relative(dir, path)
	}
	return e, wire.AppendURLPath(nil, e.Name)
}

// leadsTo returns where a symlink leads and what is there. One that leads nowhere is
// followed once more: it may have been turned meanwhile.
func (h *Handler) leadsTo(link string) (path string, info disk.Info) {
	for range 2 {
		if path, info = h.follow(link); info.Kind != mtree.Other {
			break
		}
	}
	return path, info
}

// resolve follows the symlinks in path and returns where they lead: a path
// without symlinks and what is there, Other if it is outside the root, hidden,
// dangling or of another type. "" is the root.
func (h *Handler) resolve(path string) (real string, kind mtree.Kind) {
	real, info := h.follow(path)
	return real, info.Kind
}

// retypeTries is how often a path is followed when something else has taken its
// end meanwhile.
const retypeTries = 10

// follow is resolve with what lstat tells; of the root nothing but that it is a
// directory.
func (h *Handler) follow(path string) (real string, info disk.Info) {
	for range retypeTries {
		real, err := h.tree.root.Resolve(path, h.crosses())
		if err != nil || mtree.CheckPath(real) != nil {
			break
		}
		if real == "" {
			return "", disk.Info{Kind: mtree.Dir}
		}
		info, err := h.tree.root.StatPath(real, h.crosses())
		if err != nil && !disk.IsGone(err) || err == nil && (h.hidden(real, info.Kind == mtree.Dir) || h.vouched(mtree.ParentPath(real)) != nil) {
			break
		}
		if err == nil && info.Kind != mtree.Symlink {
			return real, info
		}
	}
	return "", disk.Info{Kind: mtree.Other}
}

// relative returns the href of the directory to on the page of the directory
// from: never absolute, so that it holds behind any prefix.
func relative(from, to string) []byte {
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
