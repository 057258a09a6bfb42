package render

import (
	"strconv"
	"unicode/utf8"

	"tidemark/pkg/mtree"
)

// jsonForm is nginx's autoindex array and a little more. It follows symlinks, as nginx
// does.
type jsonForm struct {
	*mtree.Listing
	links
	rows int
}

func (f *jsonForm) Head(dst []byte) []byte { return append(dst, '[') }
func (f *jsonForm) Tail(dst []byte) []byte { return append(dst, "\n]\n"...) }

func (f *jsonForm) Row(dst []byte, e *mtree.Entry) []byte {
	if f.rows++; f.rows > 1 {
		dst = append(dst, ',')
	}
	shown, href := f.entry(e)
	dst = appendJSON(append(dst, "\n{\"name\":"...), e.Name)
	dst = append(append(dst, `,"type":"`...), jsonType(shown.Kind)...)
	dst = append(dst, `","mtime":"`...)
	dst = AppendHTTPDate(dst, shown.MTime)
	dst = append(dst, '"')
	if shown.Kind == mtree.File {
		dst = strconv.AppendInt(append(dst, `,"size":`...), shown.Size, 10)
	}
	dst = append(shown.MTime.Append(append(dst, `,"mtim":"`...)), '"')
	dst = append(shown.CTime.Append(append(dst, `,"ctim":"`...)), '"')
	dst = append(append(dst, `,"mode":"0`...), octal(shown.Mode)...)
	dst = append(dst, '"')
	if e.Kind == mtree.Symlink {
		dst = appendJSON(append(dst, `,"link":`...), e.Link)
	}
	dst = append(append(dst, `,"href":"`...), href...)
	return append(dst, `"}`...)
}

// jsonType returns the name of a kind in nginx's array.
func jsonType(k mtree.Kind) string {
	switch k {
	case mtree.File, mtree.Dir:
		return k.String()
	}
	return "other"
}

// octal returns mode as three or four octal digits.
func octal(mode uint32) string {
	digits := [4]byte{'0' + byte(mode>>9&7), '0' + byte(mode>>6&7), '0' + byte(mode>>3&7), '0' + byte(mode&7)}
	if digits[0] == '0' {
		return string(digits[1:])
	}
	return string(digits[:])
}

// appendJSON appends text as a JSON string. Bytes that are not UTF-8 become U+FFFD, so that
// any name gives valid JSON.
func appendJSON(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c < ' ' || c == 0x7F || c == '<' || c == '>' || c == '&':
				dst = append(dst, `\u00`...)
				dst = append(dst, upperHex[c>>4], upperHex[c&15])
			default:
				dst = append(dst, c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		dst = utf8.AppendRune(dst, r)
		i += size
	}
	return append(dst, '"')
}

const upperHex = "0123456789ABCDEF"
