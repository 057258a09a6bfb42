package simkernel

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// Pread implements sys.Kernel.
func (p *Process) Pread(fd int, room int, offset int64) (text []byte, err error) {
	p = p.owner(fd)
	err = p.call(func() error {
		h, err := p.usable(fd)
		if err != nil {
			return err
		}
		if h.events != nil {
			text, err = h.events.take(room)
			return err
		}
		if h.node.isDir() {
			return unix.EISDIR
		}
		if h.flags&unix.O_ACCMODE == unix.O_WRONLY {
			return unix.EBADF
		}
		at := offset
		if at < 0 {
			at = h.offset
		}
		data := h.node.data
		text = bytes.Clone(data[min(at, int64(len(data))):min(at+int64(room), int64(len(data)))])
		if offset < 0 {
			h.offset += int64(len(text))
		}
		return nil
	}, "read(%d, %d)", fd, room)
	return text, err
}

// Pwrite implements sys.Kernel.
func (p *Process) Pwrite(fd int, text []byte, offset int64) (written int, err error) {
	p = p.owner(fd)
	err = p.call(func() error {
		h, err := p.usable(fd)
		switch {
		case err != nil:
			return err
		case h.node == nil || !h.writes():
			return unix.EBADF
		case p.k.ReadOnly:
			return unix.EROFS
		case len(text) == 0:
			return nil
		}
		n := h.node
		at := offset
		if at < 0 {
			at = h.offset
		}
		if h.flags&unix.O_APPEND != 0 {
			at = int64(len(n.data))
		}
		end := at + int64(len(text))
		if p.k.Full && end > int64(len(n.data)) {
			return unix.ENOSPC
		}
		if grow := end - int64(len(n.data)); grow > 0 {
			n.data = append(n.data, make([]byte, grow)...)
		}
		copy(n.data[at:], text)
		n.dirty = true
		if offset < 0 {
			h.offset = end
		}
		written = len(text)
		p.k.changed(n, true)
		p.k.tellFile(h.at, n, unix.IN_MODIFY, true)
		return nil
	}, "write(%d, %d)", fd, len(text))
	return written, err
}

// Seek implements sys.Kernel.
func (p *Process) Seek(fd int, offset int64, whence int) (at int64, err error) {
	p = p.owner(fd)
	err = p.call(func() error {
		h, err := p.usable(fd)
		if err != nil {
			return err
		}
		switch whence {
		case unix.SEEK_SET:
			h.offset = offset
		case unix.SEEK_CUR:
			h.offset += offset
		case unix.SEEK_END:
			h.offset = int64(len(h.node.data)) + offset
		}
		at, h.last = h.offset, ""
		return nil
	}, "lseek(%d, %d)", fd, offset)
	return at, err
}

// Ftruncate implements sys.Kernel.
func (p *Process) Ftruncate(fd int, length int64) error {
	p = p.owner(fd)
	return p.call(func() error {
		h, err := p.usable(fd)
		switch {
		case err != nil:
			return err
		case !h.writes():
			return unix.EINVAL
		case p.k.ReadOnly:
			return unix.EROFS
		}
		p.k.resize(h.at, h.node, length)
		return nil
	}, "ftruncate(%d, %d)", fd, length)
}

func (k *Kernel) resize(d *dentry, n *inode, length int64) {
	if grow := length - int64(len(n.data)); grow > 0 {
		n.data = append(n.data, make([]byte, grow)...)
	}
	n.data = n.data[:length]
	n.dirty = true
	k.changed(n, true)
	k.tell(d, n, unix.IN_MODIFY)
}

// Fsync implements sys.Kernel. As on ext4 it commits the whole journal: all names and
// attributes, and the data of this file.
func (p *Process) Fsync(fd int) error {
	p = p.owner(fd)
	return p.call(func() error {
		h, err := p.usable(fd)
		if err != nil {
			return err
		}
		if p.k.ReadOnly {
			return nil
		}
		h.node.flush()
		p.k.commit()
		return nil
	}, "fsync(%d)", fd)
}

// Syncfs implements sys.Kernel.
func (p *Process) Syncfs(fd int) error {
	p = p.owner(fd)
	return p.call(func() error {
		if _, err := p.handle(fd); err != nil {
			return err
		}
		p.k.flushAll()
		p.k.commit()
		return nil
	}, "syncfs(%d)", fd)
}
