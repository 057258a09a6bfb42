package render

import (
	"cmp"
	_ "embed" // the page's style and script
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"tidemark/internal/webpage"
	"tidemark/pkg/mtree"
)

//go:embed page/page.css
var pageStyle string

//go:embed page/page.js
var pageScript string

// NoScripts is a Content-Security-Policy by which a body runs nothing and loads nothing.
const NoScripts = webpage.NoScripts

// PagePolicy returns the Content-Security-Policy of the page: it may use its own style
// and script, known by their hashes, ask its own server for news, and send its own forms to it. Nothing that
// a file name could smuggle in may run. Pictures come from its own server, where they are shown.
func PagePolicy(f Format) string {
	policy := strings.Replace(NoScripts, "form-action 'none'", "form-action 'self'", 1) +
		"; style-src '" + webpage.HashSource(webpage.Style+pageStyle) + "'; script-src '" + webpage.HashSource(pageScript) + "'; connect-src 'self'"
	if f == Preview {
		policy += "; img-src 'self'"
	}
	return policy
}

// pageForm is raised when the page says the same of a directory in another way, and neither its style nor
// its script shows that.
const pageForm = "2"

// PageVersion tells versions of the page apart: a browser has to take the page of a new version for another one,
// though the directory has the same stamp.
func PageVersion() string { return pageForm + webpage.HashSource(webpage.Style+pageStyle+pageScript) }

// maxRow is the longest row of the page, in bytes: lftp reads pages in pieces of 1000 and
// loses date and size of a longer row.
const maxRow = 1000

// wholePath is more bytes than a path can have as entities (PATH_MAX, five bytes each).
const wholePath = 32 << 10

// htmlForm is a page for people, and for rclone, lftp and wget, which mirror from it
// without a HEAD for each file: one row and one href an entry, exact sizes, times in UTC
// to the second, in lighttpd's form. Nothing in it depends on the reader, the place or
// the time: the script adds that. What leads to a query is a form: programs that mirror follow links only.
type htmlForm struct {
	*mtree.Listing
	links
	o        *Options
	pictures bool // they are shown
}

func (f *htmlForm) Head(dst []byte) []byte {
	path := f.o.Path
	dst = append(dst, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"...)
	dst = append(dst, "<meta name=\"viewport\" content=\"width=device-width\"><title>"...)
	if f.o.Search {
		dst = append(appendText(dst, cmp.Or(f.o.Find, "newest changes"), wholePath), " in "...)
	}
	dst = appendText(append(dst, '/'), path, wholePath)
	dst = append(append(append(append(dst, "</title><style>"...), webpage.Style...), pageStyle...), "</style></head>\n<body data-path=\""...)
	dst = appendText(dst, path, wholePath)
	if f.o.Tag != "" {
		dst = append(append(dst, "\" data-tag=\""...), f.o.Tag...)
	}
	if f.o.Search {
		dst = append(dst, "\" data-still=\"1"...)
	}
	if f.pictures {
		dst = append(dst, "\" data-format=\"preview"...)
	}
	dst = append(dst, "\">\n<header><h1>/"...)
	dst = appendText(dst, path, wholePath)
	dst = append(dst, "</h1><span id=\"about\">"...)
	dst = f.about(dst)
	dst = append(dst, "</span></header>\n"...)
	dst = f.ask(dst)
	dst = append(dst, "<table><thead><tr><th class=\"n\">Name</th><th class=\"m\">Changed (UTC)</th>"...)
	dst = append(dst, "<th class=\"s\">Size</th></tr></thead><tbody>\n"...)
	if up := f.up(); up != "" {
		dst = append(append(append(append(append(dst, `<tr class="up"><td class="n"><a href="`...), up...), `">`...), up...), "</a></td><td class=\"m\"></td><td class=\"s\">-</td></tr>\n"...)
	}
	return dst
}

// up returns the href of what is above the page: the directory of a search, or the one above it; "": nothing is.
func (f *htmlForm) up() string {
	switch {
	case f.o.Search:
		return "./"
	case f.o.Path == "":
		return ""
	}
	return "../"
}

// ask appends the forms by which people ask for more: a search, and what there is besides listings.
func (f *htmlForm) ask(dst []byte) []byte {
	dst = append(dst, "<div id=\"ask\"><form role=\"search\"><input type=\"search\" name=\"find\" required placeholder=\"word or *.jpg\" aria-label=\"find below: a word or a glob\""...)
	if f.o.Find != "" {
		dst = append(appendText(append(dst, " value=\""...), f.o.Find, wholePath), '"')
	}
	dst = append(dst, "><input type=\"hidden\" name=\"form\" value=\"1\"><button>Find below</button></form>\n"...)
	if f.o.Newest {
		dst = append(dst, "<form><button name=\"recent\" value=\"100\">Newest changes</button></form>\n"...)
	}
	switch {
	case f.o.Search || f.pictures:
		dst = append(dst, "<form><button>Whole directory</button></form>\n"...)
	case f.hasPictures():
		dst = append(dst, "<form><button name=\"preview\" value=\"1\">Show pictures</button></form>\n"...)
	}
	if f.o.Tar {
		dst = append(dst, "<form><button name=\"tar\" value=\"1\">All as tar</button></form>\n"...)
	}
	if f.o.Path == "" {
		dst = append(dst, "<form><button name=\"status\" value=\"1\">Status</button></form>\n"...)
	}
	dst = append(dst, "</div>\n"...)
	if f.o.More {
		dst = append(dst, "<p id=\"more\">This is not all that there is: look in a directory further down, or for something rarer.</p>\n"...)
	}
	return dst
}

// hasPictures reports whether some entry is a picture.
func (f *htmlForm) hasPictures() bool {
	for i := range f.Entries {
		if isPicture(&f.Entries[i]) {
			return true
		}
	}
	return false
}

// maxPicture is the largest picture that is shown, in bytes.
const maxPicture = 16 << 20

// isPicture reports whether an entry is a file that browsers show as a picture.
func isPicture(e *mtree.Entry) bool {
	return e.Kind == mtree.File && e.Size <= maxPicture && strings.HasPrefix(FileType(e.Name), "image/")
}

// about appends how many entries there are and how many bytes they have.
func (f *htmlForm) about(dst []byte) []byte {
	var bytes float64 // sizes up to 2^63-1 add up to more than an int64
	for i := range f.Entries {
		bytes += float64(f.Entries[i].Size)
	}
	noun := " entries, "
	switch {
	case f.o.Search:
		noun = " found, "
	case len(f.Entries) == 1:
		noun = " entry, "
	}
	dst = append(strconv.AppendInt(dst, int64(len(f.Entries)), 10), noun...)
	dst = webpage.AppendBytes(dst, bytes)
	if f.Hidden > 0 {
		dst = append(strconv.AppendInt(append(dst, ", "...), f.Hidden, 10), " hidden"...)
	}
	return dst
}

// Row follows lighttpd's cells to the letter: class comes last in each tag.
func (f *htmlForm) Row(dst []byte, e *mtree.Entry) []byte {
	start := len(dst)
	shown, href := f.entry(e)
	dst = append(dst, rowOpen(e.Kind)...)
	const fixed = len(`</a>/</td><td class="m">2024-Feb-03 04:05:06</td><td class="s">9223372036854775807</td><td class="t">1023.9 KiB</td></tr>`) + 32
	if href != nil {
		dst = append(append(append(dst, `<a href="`...), href...), `">`...)
		if f.pictures && isPicture(&shown) {
			dst = append(append(append(dst, `<img loading="lazy" alt="" src="`...), href...), `">`...)
			start = len(dst) // the row may be longer here
		}
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
		dst = append(strconv.AppendInt(dst, shown.Size, 10), `</td><td class="t">`...)
		dst = webpage.AppendBytes(dst, float64(shown.Size))
	} else {
		dst = append(dst, `-</td><td class="t">-`...)
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
	dst = append(dst, "</tbody></table>\n"...)
	if f.o.Readme != "" {
		dst = appendText(append(dst, "<section id=\"readme\"><h2>"...), f.o.Readme, wholePath)
		dst = appendLines(append(dst, "</h2><div>"...), f.o.Text)
		dst = append(dst, "</div></section>\n"...)
	}
	curl, wget, mirror := "curl -s ", "wget -m -np -nH ", "tidemark-mirror "
	if f.o.Token {
		curl, wget, mirror = curl+"-u :TOKEN ", wget+"--user=x --password=TOKEN ", mirror+"--token-file FILE "
	}
	dst = append(dst, "<footer>As text, and as a copy that keeps up:\n<pre tabindex=\"0\">"+curl+"URL?txt</pre>\n"...)
	dst = append(dst, "<pre tabindex=\"0\">"+wget+"URL</pre>\n<pre tabindex=\"0\">"+mirror+"URL COPY</pre>"...)
	if f.o.Tar {
		dst = append(dst, "\n<pre tabindex=\"0\">"+curl+"URL?tar | tar x</pre>"...)
	}
	dst = append(dst, "</footer>\n<script>"...)
	return append(append(dst, pageScript...), "</script>\n</body></html>\n"...)
}

// appendLines appends a text of several lines, escaped as appendText does it.
func appendLines(dst []byte, text string) []byte {
	for line := range strings.Lines(text) {
		bare := strings.TrimRight(line, "\r\n")
		dst = appendText(dst, strings.ReplaceAll(bare, "\t", "    "), math.MaxInt32)
		if len(bare) < len(line) {
			dst = append(dst, '\n')
		}
	}
	return dst
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
