package watch

import (
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// What the tests outside of the package need of its inside.

const (
	FloorAhead   = floorAhead
	CookiePrefix = cookiePrefix
	AnswerPrefix = answerPrefix
)

// SameProcess makes a watcher hear the changes that its own process makes.
func (c Config) SameProcess() Config {
	c.sameProcess = true
	return c
}

// SetTime makes a watcher set times by calling set.
func (c Config) SetTime(set func(*disk.Dir, mtree.Stamp) error) Config {
	c.setTime = set
	return c
}
