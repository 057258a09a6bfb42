package watch

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/notify"
)

// What is mounted in a directory has another path once the directory was renamed, and only then.
func TestWhichEventsRename(t *testing.T) {
	dirs := func(entries ...notify.Entry) []*notify.DirEvents {
		return []*notify.DirEvents{{}, {Entries: entries}}
	}
	for name, c := range map[string]struct {
		events notify.Events
		moved  bool
	}{
		"nothing":             {},
		"files":               {notify.Events{Dirs: dirs(notify.Entry{Name: "f", Renamed: true})}, false},
		"a directory":         {notify.Events{Dirs: dirs(notify.Entry{Name: "d", Moved: true})}, true},
		"one of many":         {notify.Events{Dirs: dirs(notify.Entry{Name: "f"}, notify.Entry{Name: "d", Moved: true})}, true},
		"what is not heard":   {notify.Events{Strayed: true}, true},
		"events were lost":    {notify.Events{Lost: "a reason"}, false},
		"a directory changed": {notify.Events{Dirs: dirs()}, false},
	} {
		require.Equal(t, c.moved, renames(&c.events), name)
	}
}
