package cli

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// inUnit adds to an error what the unit of a service may have caused: with ProtectSystem=strict all
// but the directories of ReadWritePaths= is read-only, and with ProtectHome= nothing is in /home.
// Other errors, and those of programs that no unit started, stay as they are.
func inUnit(err error) error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return err
	}
	switch {
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; the unit may forbid it: name the directory in ReadWritePaths= of a drop-in (systemctl edit)", err)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%w; if it is in /home, /root or /tmp, the unit may hide it: see ProtectHome= and PrivateTmp= (systemctl edit)", err)
	}
	return err
}
