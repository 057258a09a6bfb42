package autoindex

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"

	"tidemark/pkg/mtree"
)

func isHTML(contentType string) bool { return strings.HasPrefix(contentType, "text/html") }

// htmlRow is a link of a page and what follows it, up to the next link.
type htmlRow struct {
	href string
	text strings.Builder // with its tags: some servers put size and time into attributes
}

// parseHTML reads the index page of a server. The page must call itself an index, and be
// whole: the page of a captive portal, or of a broken connection, is not a listing. base
// is the escaped path that was asked for.
func parseHTML(text []byte, base string) ([]mtree.Entry, map[string]Bounds, error) {
	lower := bytes.ToLower(text)
	if !indexTitle.Match(lower) {
		return nil, nil, fmt.Errorf("%w: a page that does not call itself an index", mtree.ErrListing)
	}
	end := "</html>"
	if !bytes.Contains(lower, []byte("<html")) {
		end = "</body>" // webfs begins with <head>
	}
	if !bytes.HasSuffix(lower, []byte(end)) {
		return nil, nil, fmt.Errorf("%w: a page without its end", mtree.ErrTruncated)
	}
	known := map[string]Bounds{}
	var entries []mtree.Entry
	rows, err := htmlRows(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", mtree.ErrListing, err)
	}
	for _, row := range rows {
		name, kind, ok, err := linkedName(row.href, base)
		if err != nil {
			return nil, nil, err
		}
		if _, twice := known[name]; !ok || twice {
			continue // an icon links to the same place
		}
		e := mtree.Entry{Name: name, Kind: kind}
		known[name] = describeRow(row.text.String(), &e)
		entries = append(entries, e)
	}
	return entries, known, nil
}

// indexTitle matches what index pages call themselves. Those of rclone and Caddy have
// only a column to sort by.
var indexTitle = regexp.MustCompile(`<(title|h1)[^>]*>\s*(index of|directory listing|directory:|listing:)|href="\./?\?sort=name&|href="\?sort=name&`)

// maxTag is the longest tag that a page may have, in bytes.
const maxTag = 1 << 20

// htmlRows cuts a page at its links. The text of a link is the name of the entry: it is left out, for
// it may look like a time or a size.
func htmlRows(text []byte) (rows []*htmlRow, err error) {
	z := html.NewTokenizer(bytes.NewReader(text))
	z.SetMaxBuf(maxTag)
	for inLink := false; ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			if err := z.Err(); err != io.EOF {
				return nil, err
			}
			return rows, nil
		}
		raw := z.Raw()
		if kind == html.StartTagToken {
			token := z.Token()
			if token.Data == "a" {
				for _, a := range token.Attr {
					if a.Key == "href" {
						rows, inLink = append(rows, &htmlRow{href: a.Val}), true
						break
					}
				}
				continue
			}
		}
		if kind == html.EndTagToken && inLink {
			name, _ := z.TagName()
			inLink = string(name) != "a"
		}
		if len(rows) > 0 && !(inLink && kind == html.TextToken) { // guard: TestNamesThatLookLikeTimes
			_, _ = rows[len(rows)-1].text.WriteString(html.UnescapeString(string(raw)))
		}
	}
}

// linkedName returns the name of the entry that href leads to. ok is false for links
// that lead elsewhere: to the parent, to other hosts, to sorted views.
func linkedName(href, base string) (name string, kind mtree.Kind, ok bool, err error) {
	href, _, _ = strings.Cut(href, "#")
	if rest, is := strings.CutPrefix(href, base); is && base != "/" || base == "/" && strings.HasPrefix(href, "/") {
		if !is {
			return "", 0, false, nil
		}
		href = rest
	}
	href, isName := strings.CutPrefix(href, "./") // then it has no scheme
	if href == "" || strings.Contains(href, "?") || strings.HasPrefix(href, "/") || strings.HasPrefix(href, "../") || href == ".." {
		return "", 0, false, nil
	}
	kind = mtree.File
	escaped, slash := strings.CutSuffix(href, "/")
	if slash {
		kind = mtree.Dir
	}
	if strings.Contains(escaped, "/") || !isName && scheme.MatchString(escaped) {
		return "", 0, false, nil
	}
	if name, err = url.PathUnescape(escaped); err == nil {
		err = mtree.CheckName(name)
	}
	if err != nil {
		return "", 0, false, fmt.Errorf("%w: link %.300q: %w", mtree.ErrListing, href, err)
	}
	return name, kind, true, nil
}

var scheme = regexp.MustCompile(`^(https?|ftp|mailto|javascript|data|file):`)

// rowTime is one way to write a time in a row. The first one that fits counts.
type rowTime struct {
	pattern *regexp.Regexp
	layout  string
	step    time.Duration
	zoned   bool // it may be in the server's time zone
}

var rowTimes = []rowTime{
	{regexp.MustCompile(`datetime="(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [+-]\d{4})`), "2006-01-02 15:04:05.999999999 -0700", 1, false},  // rclone
	{regexp.MustCompile(`datetime=" ?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))"`), time.RFC3339Nano, time.Second, false}, // Caddy
	{regexp.MustCompile(`(\d{4}-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d)`), "2006-Jan-02 15:04:05", time.Second, true},                             // lighttpd
	{regexp.MustCompile(`([A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT)`), time.RFC1123, time.Second, false},                   // Tomcat
	{regexp.MustCompile(`(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)`), "2006-01-02 15:04:05", time.Second, true},                                       // miniserve
	{regexp.MustCompile(`(\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d)`), "02-Jan-2006 15:04", time.Minute, true},                                     // nginx
	{regexp.MustCompile(`(\d{4}-[A-Z][a-z]{2}-\d\d \d\d:\d\d)`), "2006-Jan-02 15:04", time.Minute, true},                                     // fancyindex
	{regexp.MustCompile(`(\d{4}-\d\d-\d\d \d\d:\d\d)`), "2006-01-02 15:04", time.Minute, true},                                               // Apache, darkhttpd
}

// describeRow reads time and size from what follows a link. Each may be missing.
func describeRow(text string, e *mtree.Entry) Bounds {
	b := Bounds{High: -1}
	for i := range rowTimes {
		r := &rowTimes[i]
		at := r.pattern.FindStringSubmatchIndex(text)
		if at == nil {
			continue
		}
		t, err := time.Parse(r.layout, text[at[2]:at[3]])
		if err != nil {
			continue
		}
		e.MTime, b.Step, b.ServerZone = mtree.FromTime(t), r.step, r.zoned
		if e.Kind == mtree.File {
			b.Low, b.High = rowSize(text, text[at[1]:])
		}
		break
	}
	if e.Kind == mtree.File && b.High < 0 {
		b.Low, b.High = rowSize(text, "")
	}
	if b.Low == b.High && b.High >= 0 {
		e.Size = b.High
	}
	return b
}

var (
	exactSize = regexp.MustCompile(`<size>(\d+)</size>|data-size="(\d+)"`)
	afterTime = regexp.MustCompile(`^[^0-9]*?\s*(?:<[^>]*>|\s|&nbsp;)*(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?B)?\s*(?:<|$|\s)`)
)

// rowSize returns the bounds of a size: exact from an attribute, else the number
// that follows the time, rounded if it has a unit or a fraction.
func rowSize(text, rest string) (low, high int64) {
	if m := exactSize.FindStringSubmatch(text); m != nil {
		if n, err := strconv.ParseInt(m[1]+m[2], 10, 63); err == nil {
			return n, n
		}
	}
	m := afterTime.FindStringSubmatch(rest)
	if m == nil {
		return 0, -1
	}
	if m[2] == "" && !strings.Contains(m[1], ".") {
		n, err := strconv.ParseInt(m[1], 10, 63)
		if err != nil {
			return 0, -1
		}
		return n, n
	}
	value, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, -1
	}
	unit := int64(1) << (10 * max(0, strings.Index("KMGTP", m[2])+1))
	if m[2] == "" {
		unit = 1
	}
	step := 1.0
	if strings.Contains(m[1], ".") {
		step = 0.1
	}
	// Servers round up, down or to the nearest.
	return int64(max(0, value-step) * float64(unit)), int64((value + step) * float64(unit))
}
