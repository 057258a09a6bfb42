package wire

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"

	"tidemark/pkg/mtree"
)

// TarType is the media type of a tar stream.
const TarType = "application/x-tar"

// TarBlock is the unit of a tar stream, in bytes.
const TarBlock = 512

var zeros [TarBlock]byte

// TarMember is one member of a tar stream.
type TarMember struct {
	Path     string // relative, raw bytes
	Kind     mtree.Kind
	Mode     uint32 // 0777 of it is written
	MTime    mtree.Stamp
	CTime    mtree.Stamp
	Size     int64  // bytes, of a file
	Link     string // target of a symlink, raw bytes
	UID, GID uint32
}

// AppendTarHeader appends the header of one member in the pax interchange format
// (POSIX.1-2001, pax(1); docs/protocol.md, "Bulk"). First comes an extended header
// with nanosecond mtime and ctime, by which a mirror can tell that it got what was
// listed, and with the names that do not fit the old header; then the ustar header.
// The content, AppendTarPadding and, after the last member, AppendTarEnd follow.
// The standard library's writer does the same at five times the cost. TarReader
// reads regular files.
func AppendTarHeader(dst []byte, m *TarMember) []byte {
	name, size := m.Path, int64(0)
	switch m.Kind {
	case mtree.Dir:
		name += "/"
	case mtree.File:
		size = m.Size
	}
	start := len(dst)
	dst = append(dst, zeros[:]...) // filled in below
	records := len(dst)
	if !utf8.ValidString(name) || !utf8.ValidString(m.Link) {
		// bsdtar needs this for names that are not UTF-8 and GNU tar warns about
		// it, so it is written only where it is needed.
		dst = appendRecord(dst, "hdrcharset", "BINARY")
	}
	var stamp [32]byte
	dst = appendRecord(dst, "mtime", m.MTime.Append(stamp[:0]))
	dst = appendRecord(dst, "ctime", m.CTime.Append(stamp[:0]))
	if !fitsUstar(name) {
		dst = appendRecord(dst, "path", name)
	}
	if !fitsUstar(m.Link) {
		dst = appendRecord(dst, "linkpath", m.Link)
	}
	if size > 0o77777777777 {
		dst = appendRecord(dst, "size", strconv.FormatInt(size, 10))
	}
	if m.UID|m.GID > 0o7777777 {
		dst = appendRecord(dst, "uid", strconv.FormatUint(uint64(m.UID), 10))
		dst = appendRecord(dst, "gid", strconv.FormatUint(uint64(m.GID), 10))
	}
	length := len(dst) - records
	dst = AppendTarPadding(dst, int64(length))
	fillUstar(dst[start:records], ustar{name: "PaxHeader/x", flag: 'x', mode: 0o644, size: int64(length)})
	dst = append(dst, zeros[:]...)
	fillUstar(dst[len(dst)-TarBlock:], ustar{
		name: name, link: m.Link, flag: tarFlag(m.Kind), mode: m.Mode & 0o777,
		uid: m.UID, gid: m.GID, size: size, mtime: m.MTime,
	})
	return dst
}

// AppendTarPadding fills the block in which content of this size ends.
func AppendTarPadding(dst []byte, size int64) []byte {
	return append(dst, zeros[:-size&(TarBlock-1)]...)
}

// AppendTarEnd appends the two zero blocks that say that the stream is whole.
func AppendTarEnd(dst []byte) []byte { return append(append(dst, zeros[:]...), zeros[:]...) }

// tarFlag returns the type of a member as the header says it.
func tarFlag(k mtree.Kind) byte {
	switch k {
	case mtree.Dir:
		return '5'
	case mtree.Symlink:
		return '2'
	}
	return '0'
}

// fitsUstar reports whether a name can stand in the old header: ASCII of at
// most 100 bytes.
func fitsUstar(name string) bool {
	if len(name) > 100 {
		return false
	}
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendRecord appends "LENGTH KEY=VALUE\n", the length counting itself.
func appendRecord[T string | []byte](dst []byte, key string, value T) []byte {
	rest := len(key) + len(value) + len(" =\n")
	length := rest + digits(rest)
	length = rest + digits(length) // its own digits may have become one more
	dst = append(strconv.AppendInt(dst, int64(length), 10), ' ')
	dst = append(append(dst, key...), '=')
	return append(append(dst, value...), '\n')
}

// digits counts the digits of a positive decimal number.
func digits(n int) (count int) {
	for ; n > 0; n /= 10 {
		count++
	}
	return count
}

// ustar is what a header block holds (POSIX.1-1988).
type ustar struct {
	name, link string
	flag       byte
	mode       uint32
	uid, gid   uint32
	size       int64
	mtime      mtree.Stamp
}

// fillUstar writes a header into block, which is all zero. The extended header
// before it has said what does not fit.
func fillUstar(block []byte, u ustar) {
	asciiField(block[0:100], u.name)
	octalField(block[100:108], uint64(u.mode))
	octalField(block[108:116], uint64(u.uid))
	octalField(block[116:124], uint64(u.gid))
	octalField(block[124:136], uint64(u.size))
	sec, _ := u.mtime.Unix()
	octalField(block[136:148], uint64(max(sec, 0)))
	copy(block[148:156], "        ")
	block[156] = u.flag
	asciiField(block[157:257], u.link)
	copy(block[257:], "ustar\x0000")
	octalField(block[148:155], uint64(sumBlock(block)))
}

// sumBlock adds up the bytes of a header block, eight at a time. One by one would
// be a tenth of the cost of packing a small file, and more than any other step of
// reading a header.
func sumBlock(block []byte) int64 {
	const even = 0x00ff_00ff_00ff_00ff
	var four uint64 // sums of 16 bits; each stays below 128 * 256
	for i := 0; i+8 <= len(block); i += 8 {
		eight := binary.LittleEndian.Uint64(block[i:])
		four += eight&even + eight>>8&even
	}
	return int64(four&0xffff + four>>16&0xffff + four>>32&0xffff + four>>48)
}

// asciiField writes what the old header can hold of a name.
func asciiField(field []byte, name string) {
	n := 0
	for i := 0; i < len(name) && n < len(field); i++ {
		if name[i] < utf8.RuneSelf {
			field[n] = name[i]
			n++
		}
	}
}

// octalField writes n with leading zeros and a NUL after it; the largest number
// that fits if n is too large.
func octalField(field []byte, n uint64) {
	digits := len(field) - 1
	n = min(n, 1<<(3*digits)-1)
	for i := digits - 1; i >= 0; i-- {
		field[i] = byte('0' + n&7)
		n >>= 3
	}
	field[digits] = 0
}
