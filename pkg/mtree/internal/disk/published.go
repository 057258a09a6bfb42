package disk

import (
	"errors"
	"fmt"
)

// ErrReplaced says that the path of a root names another directory than the
// one that was opened: after mv, rm, a mount over it, or an unmount.
var ErrReplaced = errors.New("another directory than at the start")

// Standing returns nil if path still names the directory d, ErrReplaced if it
// names another one, and else why it names none. Cost: openat, two statx.
func (d *Dir) Standing(path string) error {
	there, err := OpenRoot(path)
	if err != nil {
		return err
	}
	defer there.Close()
	was, err := d.Self()
	if err != nil {
		return err
	}
	now, err := there.Self()
	if err == nil && now.Node != was.Node {
		err = fmt.Errorf("%q: %w", path, ErrReplaced)
	}
	return err
}
