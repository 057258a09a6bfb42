package notify

import (
	"fmt"

	"tidemark/pkg/mtree/internal/machine"
)

// Supported returns why not all changes on the file system of the directory open as fd
// can be heard, nil if they can.
func Supported(fd int) error {
	name, err := machine.Distant(fd)
	if err == nil && name != "" {
		err = fmt.Errorf("%s sends no events for changes made elsewhere", name)
	}
	return err
}
