package journal

import (
	"io"

	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/internal/sys"
)

// names are the two files of a journal.
var names = [2]string{"journal.0", "journal.1"}

// file is one of them, open to be written.
type file struct {
	sys.File
	node disk.Node
	size int64 // where the next batch is appended
}

// openEmpty opens the file of this name, which it makes if it is missing, and empties it.
func openEmpty(m *state.Marker, name string) (*file, error) {
	f, err := m.OpenOwn(name, true)
	if err != nil {
		return nil, err
	}
	info, err := disk.StatFile(f)
	if err == nil {
		err = f.Chmod(0o644) // the umask must not keep others from reading
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &file{File: f, node: info.Node}, nil
}

// isAt reports whether the name still leads to the file, and nobody else has written to it.
// Cost: statx.
func (f *file) isAt(m *state.Marker, name string) bool {
	info, err := m.Dir().Stat(name)
	return err == nil && info.Node == f.node && info.Size == f.size && info.Links <= 1
}

// append adds text with one write.
func (f *file) append(text []byte) error {
	n, err := f.WriteAt(text, f.size)
	f.size += int64(n)
	if err == nil && n < len(text) {
		err = io.ErrShortWrite
	}
	return err
}

// announce says that the batch with this number is the last that was written.
func (f *file) announce(number uint64) error {
	return state.LockOffset(int(f.Fd()), int64(number))
}

// withdraw ends what was announced there, and closes the file.
func (f *file) withdraw() {
	_ = state.UnlockOffsets(int(f.Fd())) // explicitly: see state.Lock.Unlock
	_ = f.Close()                        // so does this
}
