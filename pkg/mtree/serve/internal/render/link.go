package render

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// links says how entries are shown in formats whose readers expect a server to follow
// symlinks.
type links struct {
	follow func(link mtree.Entry) (shown mtree.Entry, href []byte)
	href   []byte // the last one returned
}

// entry returns the entry that is shown for e, and the href by which to ask for it, nil
// if there is nothing to ask for. href is valid until the next call.
func (l *links) entry(e *mtree.Entry) (shown mtree.Entry, href []byte) {
	shown = *e
	if e.Kind == mtree.Symlink {
		return l.symlink(shown)
	}
	l.href = wire.AppendURLPath(l.href[:0], e.Name)
	if e.Kind == mtree.Dir {
		l.href = append(l.href, '/')
	}
	return shown, l.href
}

// maxHref is the longest href of one name, in bytes. A longer one would not fit in a row
// of the page.
const maxHref = 3*mtree.MaxName + len("/")

func (l *links) symlink(e mtree.Entry) (shown mtree.Entry, href []byte) {
	if l.follow == nil {
		e.Kind = mtree.Other
		return e, nil
	}
	shown, href = l.follow(e)
	if len(href) > maxHref { // the link's own URL is answered with a redirection to where it leads
		href = append(wire.AppendURLPath(nil, e.Name), '/')
	}
	return shown, href
}
