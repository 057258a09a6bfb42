package render

import (
	"crypto/sha256"
	_ "embed" // the page's style and script
	"encoding/base64"
	"strconv"
	"unicode"
	"unicode/utf8"

	"tidemark/pkg/mtree"
)

//go:embed page/page.css
var pageStyle string

//go:embed page/page.js
var pageScript string

// NoScripts is a Content-Security-Policy by which a body runs nothing and loads nothing.
const NoScripts = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// PagePolicy returns the Content-Security-Policy of the page: it may use its own style
// and script, known by their hashes, and ask its own server for news. Nothing that a file
// name could smuggle in may run.
func PagePolicy() string {
	return NoScripts + "; style-src '" + hashSource(pageStyle) + "'; script-src '" + hashSource(pageScript) + "'; connect-src 'self'"
}

// hashSource returns the expression that allows this text in a Content-Security-Policy.
func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// maxRow is the longest row of the page, in bytes: lftp reads pages in pieces of 1000 and
// loses date and size of a longer row.
const maxRow = 1000

// wholePath is more bytes than a path can have as entities (PATH_MAX, five bytes each).
const wholePath = 32 << 10

// htmlForm is a page for people, and for rclone, lftp and wget, which mirror from it
// without a HEAD for each file: one row and one href an entry, exact sizes, times in UTC
// to the second, in lighttpd's form. Nothing in it depends on the reader, the place or
// the time: the script adds that.
type htmlForm struct {
	*mtree.Listing
	links
	path  string
	tag   string // of this listing; "": the page does not ask for news
	still bool   // a search: the script must not replace it with the directory's listing
}

func (f *htmlForm) Head(dst []byte) []byte {
	dst = append(dst, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"...)
	dst = append(dst, "<meta name=\"viewport\" content=\"width=device-width\"><title>/"...)
	dst = appendText(dst, f.path, wholePath)
	dst = append(append(append(dst, "</title><style>"...), pageStyle...), "</style></head>\n<body data-path=\""...)
	dst = appendText(dst, f.path, wholePath)
	if f.tag != "" {
		dst = append(append(dst, "\" data-tag=\""...), f.tag...)
	}
	if f.still {
		dst = append(dst, "\" data-still=\"1"...)
	}
	dst = append(dst, "\">\n<header><h1>/"...)
	dst = appendText(dst, f.path, wholePath)
	dst = append(dst, "</h1><span id=\"about\">"...)
	dst = f.about(dst)
	dst = append(dst, "</span></header>\n<table><thead><tr><th class=\"n\">Name</th><th class=\"m\">Changed (UTC)</th>"...)
	dst = append(dst, "<th class=\"s\">Bytes</th></tr></thead><tbody>\n"...)
	if f.path != "" {
		dst = append(dst, "<tr class=\"up\"><td class=\"n\"><a href=\"../\">../</a></td><td class=\"m\"></td><td class=\"s\">-</td></tr>\n"...)
	}
	return dst
}

// about appends how many entries there are and how many bytes they have.
func (f *htmlForm) about(dst []byte) []byte {
	var bytes float64 // sizes up to 2^63-1 add up to more than an int64
	for i := range f.Entries {
		bytes += float64(f.Entries[i].Size)
	}
	noun := " entries, "
	if len(f.Entries) == 1 {
		noun = " entry, "
	}
	dst = append(strconv.AppendInt(dst, int64(len(f.Entries)), 10), noun...)
	dst = appendAmount(dst, bytes)
	if f.Hidden > 0 {
		dst = append(strconv.AppendInt(append(dst, ", "...), f.Hidden, 10), " hidden"...)
	}
	return dst
}

// appendAmount appends a number of bytes for people: "1.5 MiB".
func appendAmount(dst []byte, bytes float64) []byte {
	if bytes == 1 {
		return append(dst, "1 byte"...)
	}
	if bytes < 1024 {
		return append(strconv.AppendFloat(dst, bytes, 'f', 0, 64), " bytes"...)
	}
	unit := 0
	for bytes /= 1024; bytes >= 1024; unit++ {
		bytes /= 1024
	}
	dst = strconv.AppendFloat(dst, bytes, 'f', 1, 64)
	return append(append(append(dst, ' '), "KMGTPEZY"[unit]), "iB"...)
}

// Row follows lighttpd's cells to the letter: class comes last in each tag.
func (f *htmlForm) Row(dst []byte, e *mtree.Entry) []byte {
	start := len(dst)
	shown, href := f.entry(e)
	dst = append(dst, rowOpen(e.Kind)...)
	const fixed = len(`</a>/</td><td class="m">2024-Feb-03 04:05:06</td><td class="s">9223372036854775807</td></tr>`) + 32
	if href != nil {
		dst = append(append(append(dst, `<a href="`...), href...), `">`...)
	}
	dst = appendText(dst, e.Name, maxRow-fixed-(len(dst)-start))
	if href != nil {
		dst = append(dst, "</a>"...)
	}
	if shown.Kind == mtree.Dir {
		dst = append(dst, '/')
	}
	dst = append(dst, `</td><td class="m">`...)
	dst = appendPageDate(dst, shown.MTime)
	dst = append(dst, `</td><td class="s">`...)
	if shown.Kind == mtree.File {
		dst = strconv.AppendInt(dst, shown.Size, 10)
	} else {
		dst = append(dst, '-')
	}
	return append(dst, "</td></tr>\n"...)
}

// rowOpen returns the beginning of the row of an entry.
func rowOpen(k mtree.Kind) string {
	switch k {
	case mtree.Dir:
		return `<tr class="d"><td class="n">`
	case mtree.Symlink:
		return `<tr class="l"><td class="n">`
	}
	return `<tr><td class="n">`
}

func (f *htmlForm) Tail(dst []byte) []byte {
	dst = append(dst, "</tbody></table>\n<footer>As text, and as a copy that keeps up:\n"...)
	dst = append(dst, "<pre>curl -s URL?txt</pre>\n<pre>wget -m -np -nH URL</pre></footer>\n<script>"...)
	return append(append(dst, pageScript...), "</script>\n</body></html>\n"...)
}

// appendText appends text for people, cut after most bytes with an ellipsis. Characters
// with a meaning in HTML become entities; those that do not print, or change the
// direction of writing, become U+FFFD.
func appendText(dst []byte, text string, most int) []byte {
	end := len(dst) + most
	for _, r := range text {
		before := len(dst)
		switch {
		case r == '&':
			dst = append(dst, "&amp;"...)
		case r == '<':
			dst = append(dst, "&lt;"...)
		case r == '>':
			dst = append(dst, "&gt;"...)
		case r == '"':
			dst = append(dst, "&#34;"...)
		case r == '\'':
			dst = append(dst, "&#39;"...)
		case !unicode.IsPrint(r):
			dst = utf8.AppendRune(dst, utf8.RuneError)
		default:
			dst = utf8.AppendRune(dst, r)
		}
		if len(dst) > end {
			return append(dst[:before], "…"...)
		}
	}
	return dst
}
