package sys

import "golang.org/x/sys/unix"

// CopyFileRange is copy_file_range(2) from an offset of one file to the offset of the descriptor
// of another. In a simulation it is ENOSYS, as it may be on a real machine.
func CopyFileRange(from int, offset int64, to int, length int) (int, error) {
	if kernel != nil {
		return 0, unix.ENOSYS
	}
	return countAgain(func() (int, error) { return unix.CopyFileRange(from, &offset, to, nil, length, 0) })
}
