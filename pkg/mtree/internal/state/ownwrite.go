package state

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/sys"
)

// OwnWrite is what a directory shows after watch itself wrote its time. While it still
// shows that, nobody has changed or moved it.
type OwnWrite struct {
	Inode        uint64
	MTime, CTime mtree.Stamp
	Place        uint64 // where it was then: see package ownwrites
}

// OwnWriteLog is the two files .tidemark/left.0 and left.1, with the own writes of the
// last batches as fixed records: inode u64, then seconds s64 and nanoseconds u32 of
// mtime and of ctime, then place u64, little endian. One file is appended to. When it has maxOwnWrites
// records, and at each start, the other is emptied and takes over: so the last batches
// are always there, and not much more. Only the holder of the lock has it open.
type OwnWriteLog struct {
	files [2]sys.File
	now   int   // the file that is appended to
	size  int64 // its length in bytes
	buf   []byte
}

var ownWriteNames = [2]string{"left.0", "left.1"}

const (
	ownWriteSize = 40
	maxOwnWrites = 1 << 15 // records in one file: 1.25 MiB
)

// OpenOwnWrites opens the log and returns what it holds, in no order. A record that is
// cut short ends its file.
func (m *Marker) OpenOwnWrites() (*OwnWriteLog, []OwnWrite, error) {
	log := &OwnWriteLog{}
	var all []OwnWrite
	for i, name := range ownWriteNames {
		// What cannot be read is not known: those directories are stamped again.
		if f, _, err := m.OpenFile(name); err == nil {
			text, _ := io.ReadAll(io.LimitReader(f, ownWriteSize*maxOwnWrites))
			all = parseOwnWrites(all, text)
			_ = f.Close()
		}
		f, err := m.OpenOwn(name, true)
		if err != nil {
			_ = log.Close()
			return nil, nil, err
		}
		log.files[i] = f
	}
	err := log.turn()
	if err == nil {
		err = log.Append(all)
	}
	if err != nil {
		_ = log.Close()
		return nil, nil, err
	}
	return log, all, nil
}

func parseOwnWrites(all []OwnWrite, text []byte) []OwnWrite {
	for ; len(text) >= ownWriteSize; text = text[ownWriteSize:] {
		at := func(i int) mtree.Stamp {
			return mtree.Unix(int64(binary.LittleEndian.Uint64(text[i:])), int64(binary.LittleEndian.Uint32(text[i+8:])))
		}
		all = append(all, OwnWrite{Inode: binary.LittleEndian.Uint64(text), MTime: at(8), CTime: at(20), Place: binary.LittleEndian.Uint64(text[32:])})
	}
	return all
}

// Append adds records with one write. It is not durable: after a power cut those
// directories are stamped again.
func (l *OwnWriteLog) Append(records []OwnWrite) error {
	records = records[max(0, len(records)-maxOwnWrites):]
	if l.size+int64(len(records))*ownWriteSize > ownWriteSize*maxOwnWrites {
		if err := l.turn(); err != nil {
			return err
		}
	}
	l.buf = l.buf[:0]
	for _, r := range records {
		l.buf = binary.LittleEndian.AppendUint64(l.buf, r.Inode)
		for _, t := range []mtree.Stamp{r.MTime, r.CTime} {
			sec, nsec := t.Unix()
			l.buf = binary.LittleEndian.AppendUint64(l.buf, uint64(sec))
			l.buf = binary.LittleEndian.AppendUint32(l.buf, uint32(nsec))
		}
		l.buf = binary.LittleEndian.AppendUint64(l.buf, r.Place)
	}
	n, err := l.files[l.now].WriteAt(l.buf, l.size)
	l.size += int64(n)
	return err
}

// turn empties the older file, which is appended to from now on.
func (l *OwnWriteLog) turn() error {
	l.now, l.size = 1-l.now, 0
	return l.files[l.now].Truncate(0)
}

// Close closes the files.
func (l *OwnWriteLog) Close() error {
	var errs []error
	for _, f := range l.files {
		if f != nil {
			if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
