package disk

import (
	"io"

	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/sys"
)

// copyStep is how many bytes one call copies, at most: no signal interrupts it.
const copyStep = 64 << 20

// CopyFrom appends length bytes of another file of this file system, from offset on. Where the file
// system can (btrfs, xfs), both share them; elsewhere the kernel copies them. A hole stays a hole.
// If r has fewer bytes, the error is io.ErrUnexpectedEOF. System calls for each 64 MiB, or
// extent between holes:
//
//	lseek(SEEK_DATA), lseek(SEEK_HOLE), copy_file_range
//	if the kernel cannot: pread, write...
//	for a hole: lseek, ftruncate
func (f *TempFile) CopyFrom(r *Regular, offset, length int64) error {
	for length > 0 {
		hole, n := r.extent(offset, min(length, copyStep))
		var err error
		if hole {
			err = f.AddHole(n)
		} else {
			err = f.copyData(r, offset, n)
		}
		if err != nil {
			return err
		}
		offset += n
		length -= n
	}
	return nil
}

// extent reports whether r has a hole at offset, and how many of the next most bytes are of the
// same kind. What the file system does not tell is data. Where data ends is remembered: tmpfs looks at
// each page up to there.
func (r *Regular) extent(offset, most int64) (hole bool, length int64) {
	if offset+most > r.Size {
		return false, most // it has less, and reading finds that out
	}
	if r.data.from <= offset && offset < r.data.to {
		return false, min(most, r.data.to-offset)
	}
	data, err := sys.Seek(r.fd, offset, unix.SEEK_DATA)
	switch {
	case err == unix.ENXIO:
		return true, most
	case err != nil || data < offset:
		return false, most
	case data > offset:
		return true, min(most, data-offset)
	}
	end, err := sys.Seek(r.fd, offset, unix.SEEK_HOLE)
	if err != nil || end <= offset {
		return false, most
	}
	r.data = span{offset, end}
	return false, min(most, end-offset)
}

// copyData appends bytes that are no hole.
func (f *TempFile) copyData(r *Regular, offset, length int64) error {
	for length > 0 {
		n, err := sys.CopyFileRange(r.fd, offset, f.fd, int(length))
		switch err {
		case nil:
			if n == 0 {
				return io.ErrUnexpectedEOF
			}
			offset += int64(n)
			length -= int64(n)
		case unix.ENOSYS, unix.EXDEV, unix.EINVAL, unix.EOPNOTSUPP, unix.EPERM, unix.EBADF:
			return f.copyByHand(r, offset, length)
		default:
			return f.check("copy", err)
		}
	}
	return nil
}

// copyByHand does what copyData does where the kernel does not.
func (f *TempFile) copyByHand(r *Regular, offset, length int64) error {
	buf := make([]byte, min(length, 256<<10))
	for length > 0 {
		part := buf[:min(length, int64(len(buf)))]
		if _, err := r.ReadAt(part, offset); err == io.EOF {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
		if _, err := f.Write(part); err != nil {
			return err
		}
		offset += int64(len(part))
		length -= int64(len(part))
	}
	return nil
}

// Stat returns fstat as it is now.
func (f *TempFile) Stat() (Info, error) {
	info, err := StatFD(f.fd)
	return info, f.check("stat", err)
}
