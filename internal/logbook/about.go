package logbook

import "log/slog"

// standing is the value of an attribute of About.
type standing struct{ topic, state string }

// LogValue makes it nothing for every other handler.
func (standing) LogValue() slog.Value { return slog.GroupValue() }

// About returns an attribute that says of a record that it tells how something stands: topic names that, and
// state is how it stands. Records of one topic and state are the same, and a record with another state than the one
// before is told at once. The attribute itself is not written. Topics are kept for good, so they must be few.
func About(topic, state string) slog.Attr { return slog.Any("", standing{topic, state}) }

// splitAbout returns what a record tells of, and the record without that.
func splitAbout(r slog.Record) (about standing, is bool, rest slog.Record) {
	r.Attrs(func(a slog.Attr) bool {
		about, is = a.Value.Any().(standing)
		return !is
	})
	if !is {
		return about, false, r
	}
	rest = slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if _, hidden := a.Value.Any().(standing); !hidden {
			rest.AddAttrs(a)
		}
		return true
	})
	return about, true, rest
}
