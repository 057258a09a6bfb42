package mtree

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// AppendEntry appends the line of one entry.
func AppendEntry(dst []byte, e *Entry) []byte {
	dst = append(e.MTime.Append(dst), ' ')
	dst = AppendEscaped(dst, e.Name)
	switch e.Kind {
	case File:
		dst = strconv.AppendInt(append(dst, '\t'), e.Size, 10)
	case Dir:
		dst = append(dst, "/\t-"...)
	default:
		dst = append(dst, "\t-"...)
	}
	if e.Has&HasMode != 0 {
		dst = append(dst, "\tmode=0"...)
		dst = strconv.AppendUint(append(dst, zeros(e.Mode)...), uint64(e.Mode), 8)
	}
	if e.Has&HasCTime != 0 {
		dst = e.CTime.Append(append(dst, "\tctime="...))
	}
	if e.Kind == Symlink {
		dst = AppendEscaped(append(dst, "\tlink="...), e.Link)
	}
	if e.Has&HasOwner != 0 {
		dst = strconv.AppendUint(append(dst, "\towner="...), uint64(e.UID), 10)
		dst = strconv.AppendUint(append(dst, ':'), uint64(e.GID), 10)
	}
	if e.Has&HasSame != 0 {
		var id [8]byte
		binary.BigEndian.PutUint64(id[:], e.Same)
		dst = hex.AppendEncode(append(dst, "\tsame="...), id[:])
	}
	if e.Hot {
		dst = append(dst, "\thot=1"...)
	}
	return append(dst, '\n')
}

// zeros pads an octal mode to three digits.
func zeros(mode uint32) string {
	switch {
	case mode > 0o77:
		return ""
	case mode > 0o7:
		return "0"
	}
	return "00"
}

// parseEntry is the inverse of AppendEntry, without the LF.
func parseEntry(line string) (Entry, error) {
	stamp, name, size, attrs, err := cutColumns(line)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Kind: File, MTime: stamp}
	if name[len(name)-1] == '/' {
		e.Kind = Dir
		name = name[:len(name)-1]
	}
	if e.Name, err = UnescapeName(name); err != nil {
		return Entry{}, err
	}
	if err := CheckName(e.Name); err != nil {
		return Entry{}, err
	}
	linked := false
	err = eachAttr(attrs, func(key, value string) error {
		linked = linked || key == "link"
		return e.setAttr(key, value)
	})
	switch {
	case err != nil:
		return Entry{}, fmt.Errorf("%q: %w", e.Name, err)
	case e.Kind == Dir && size != "-":
		return Entry{}, fmt.Errorf("%q: a directory with a size", e.Name)
	case e.Kind == File && size == "-":
		e.Kind = Symlink
		if !linked && e.NotUnderstood == "" {
			return Entry{}, fmt.Errorf("%q: a symlink without a target", e.Name)
		}
	case e.Kind == File:
		if e.Size, err = parseSize(size); err != nil {
			return Entry{}, fmt.Errorf("%q: %w", e.Name, err)
		}
	}
	if e.Kind != Symlink {
		e.Link = ""
	}
	if e.Kind != File {
		e.Same, e.Has = 0, e.Has&^HasSame
	}
	return e, nil
}

// setAttr sets what one attribute says.
func (e *Entry) setAttr(key, value string) (err error) {
	switch key {
	case "mode":
		var mode uint64
		if mode, err = strconv.ParseUint(value, 8, 32); err != nil || mode > 0o7777 {
			return fmt.Errorf("mode %.20q is not octal", value)
		}
		e.Mode, e.Has = uint32(mode), e.Has|HasMode
	case "ctime":
		e.CTime, err = ParseStamp(value)
		e.Has |= HasCTime
	case "link":
		if value == "" || strings.IndexByte(value, 0) >= 0 {
			return errors.New("an impossible link target")
		}
		e.Link = value
	case "owner":
		e.UID, e.GID, err = parseOwner(value)
		e.Has |= HasOwner
	case "same":
		if e.Same, err = parseSame(value); err == nil {
			e.Has |= HasSame
		}
	case "hot":
		e.Hot = value == "1"
	default:
		if isCapital(key) {
			e.NotUnderstood = key
		}
	}
	return err
}

// parseSame reads 16 hex digits.
func parseSame(value string) (uint64, error) {
	var id [8]byte
	n, err := hex.Decode(id[:], []byte(value[:min(len(value), 2*len(id))]))
	if err != nil || n != len(id) || len(value) != 2*len(id) {
		return 0, fmt.Errorf("same %.40q is not 16 hex digits", value)
	}
	return binary.BigEndian.Uint64(id[:]), nil
}

// parseOwner reads UID:GID.
func parseOwner(value string) (uid, gid uint32, err error) {
	left, right, _ := strings.Cut(value, ":")
	u, err1 := strconv.ParseUint(left, 10, 32)
	g, err2 := strconv.ParseUint(right, 10, 32)
	if err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("owner %.40q is not UID:GID", value)
	}
	return uint32(u), uint32(g), nil
}

// parseSize reads 1*DIGIT up to 2^63-1.
func parseSize(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || !isDigit(text[0]) {
		return 0, fmt.Errorf("size %.40q is not a number below 2^63", text)
	}
	return int64(n), nil
}
