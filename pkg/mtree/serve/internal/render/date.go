package render

import "tidemark/pkg/mtree"

const (
	monthNames = "JanFebMarAprMayJunJulAugSepOctNovDec"
	dayNames   = "SunMonTueWedThuFriSat"
	pageDate   = "2006-Jan-02 15:04:05"
	httpDate   = "Mon, 02 Jan 2006 15:04:05 GMT"
)

// moment is a second of the calendar, UTC, in the years 0 to 9999.
type moment struct{ year, month, day, weekday, hour, minute, second int }

// momentOf splits Unix seconds into a calendar date, as Howard Hinnant's
// chrono-compatible algorithms do (civil_from_days). A listing of 10,000 rows has as many
// dates, and package time takes ten times as long for each.
func momentOf(sec int64) (m moment, ok bool) {
	const first, last = -62167219200, 253402300799 // 0000-01-01, 9999-12-31T23:59:59
	if sec < first || sec > last {
		return moment{}, false
	}
	days := (sec - first) / 86400
	rest := int((sec - first) % 86400)
	// Years begin in March here, so that a leap day is the last of its year.
	shifted := days + 146037 // from 1 March of the year -400
	era := shifted / 146097
	ofEra := shifted % 146097
	year := (ofEra - ofEra/1460 + ofEra/36524 - ofEra/146096) / 365
	ofYear := ofEra - (365*year + year/4 - year/100)
	month := (5*ofYear + 2) / 153
	m = moment{
		year: int(era*400+year) - 400, month: int(month) + 3, day: int(ofYear-(153*month+2)/5) + 1,
		weekday: int((days + 6) % 7), hour: rest / 3600, minute: rest / 60 % 60, second: rest % 60,
	}
	if m.month > 12 {
		m.month -= 12
		m.year++
	}
	return m, true
}

// appendPageDate appends a date in lighttpd's form: "2024-Feb-03 04:05:06".
func appendPageDate(dst []byte, s mtree.Stamp) []byte {
	sec, _ := s.Unix()
	m, ok := momentOf(sec)
	if !ok {
		return s.Time().AppendFormat(dst, pageDate)
	}
	dst = append(appendTwo(appendTwo(dst, m.year/100), m.year%100), '-')
	dst = append(append(dst, monthNames[3*m.month-3:3*m.month]...), '-')
	return m.appendTime(append(appendTwo(dst, m.day), ' '))
}

// AppendHTTPDate appends a date as HTTP has it: "Sat, 03 Feb 2024 04:05:06 GMT".
func AppendHTTPDate(dst []byte, s mtree.Stamp) []byte {
	sec, _ := s.Unix()
	m, ok := momentOf(sec)
	if !ok {
		return s.Time().AppendFormat(dst, httpDate)
	}
	dst = append(append(dst, dayNames[3*m.weekday:3*m.weekday+3]...), ", "...)
	dst = append(appendTwo(dst, m.day), ' ')
	dst = append(append(dst, monthNames[3*m.month-3:3*m.month]...), ' ')
	dst = append(appendTwo(appendTwo(dst, m.year/100), m.year%100), ' ')
	return append(m.appendTime(dst), " GMT"...)
}

// appendTime appends "04:05:06".
func (m moment) appendTime(dst []byte) []byte {
	dst = append(appendTwo(dst, m.hour), ':')
	dst = append(appendTwo(dst, m.minute), ':')
	return appendTwo(dst, m.second)
}

// appendTwo appends a number below 100 as two digits.
func appendTwo(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }
