package notify

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"tidemark/pkg/mtree/internal/notify/internal/handles"
)

// record is an information record as fanotify(7) describes it: kind, file system, handle
// and name.
func record(kind byte, handle, name []byte) []byte {
	body := make([]byte, handles.FSIDSize, 64)
	body = binary.NativeEndian.AppendUint32(body, uint32(len(handle)))
	body = binary.NativeEndian.AppendUint32(body, 1)
	body = append(append(body, handle...), name...)
	head := binary.NativeEndian.AppendUint16([]byte{kind, 0}, uint16(fanHeader+len(body)))
	return append(head, body...)
}

// Events of fanotify are read as they were made; bytes that are none end the buffer, and
// nothing is read beyond it.
func FuzzFanotify(f *testing.F) {
	f.Add([]byte{}, []byte("handle"), []byte("name"), uint64(unix.FAN_CREATE), int32(7))
	f.Add(bytes.Repeat([]byte{24, 0, 0, 0}, 12), []byte{}, []byte("."), uint64(0), int32(-1))
	f.Add(append([]byte{24, 0, 0, 0, 3, 0, 255, 255}, make([]byte, 16)...), []byte{1}, []byte{}, uint64(1), int32(0))
	f.Fuzz(func(t *testing.T, wild, handle, name []byte, mask uint64, pid int32) {
		for rest := wild; ; {
			e, size := nextFanEvent(rest)
			if size == 0 {
				break
			}
			require.LessOrEqual(t, size, len(rest))
			require.LessOrEqual(t, len(e.dir)+len(e.name)+len(e.file), size)
			rest = rest[size:]
		}
		if len(handle) > 128 || len(name) > 255 || bytes.IndexByte(name, 0) >= 0 {
			return
		}
		info := append(record(unix.FAN_EVENT_INFO_TYPE_DFID_NAME, handle, append(bytes.Clone(name), 0, 0)), record(unix.FAN_EVENT_INFO_TYPE_FID, handle, nil)...)
		raw := binary.NativeEndian.AppendUint32(nil, uint32(fanMetadata+len(info)))
		raw = append(raw, 3, 0)
		raw = binary.NativeEndian.AppendUint16(raw, fanMetadata)
		raw = binary.NativeEndian.AppendUint64(raw, mask)
		raw = append(raw, 0xff, 0xff, 0xff, 0xff)
		raw = binary.NativeEndian.AppendUint32(raw, uint32(pid))
		raw = append(append(raw, info...), wild...)
		e, size := nextFanEvent(raw)
		require.Equal(t, fanMetadata+len(info), size)
		require.Equal(t, name, append([]byte{}, e.name...))
		require.Equal(t, e.dir, e.file)
		require.True(t, bytes.HasSuffix(e.dir, handle))
		require.Equal(t, mask, e.mask)
		require.Equal(t, pid, e.pid)
	})
}

// The same for inotify.
func FuzzInotify(f *testing.F) {
	f.Add(bytes.Repeat([]byte{1}, 16), []byte("name"), int32(1), uint32(unix.IN_CREATE))
	f.Add(bytes.Repeat([]byte{0}, 40), []byte{}, int32(-1), uint32(unix.IN_Q_OVERFLOW))
	f.Fuzz(func(t *testing.T, wild, name []byte, wd int32, mask uint32) {
		for rest := wild; len(rest) >= unix.SizeofInotifyEvent; {
			_, size := nextEvent(rest)
			require.True(t, size >= unix.SizeofInotifyEvent && size <= len(rest))
			rest = rest[size:]
		}
		if len(name) > 255 || bytes.IndexByte(name, 0) >= 0 {
			return
		}
		padded := name
		if len(name) > 0 {
			padded = append(bytes.Clone(name), make([]byte, 16-len(name)%16)...)
		}
		raw := binary.NativeEndian.AppendUint32(nil, uint32(wd))
		raw = binary.NativeEndian.AppendUint32(raw, mask)
		raw = binary.NativeEndian.AppendUint32(raw, 9)
		raw = binary.NativeEndian.AppendUint32(raw, uint32(len(padded)))
		raw = append(append(raw, padded...), wild...)
		e, size := nextEvent(raw)
		require.Equal(t, unix.SizeofInotifyEvent+len(padded), size)
		require.Equal(t, name, append([]byte{}, e.name...))
		require.Equal(t, wd, e.wd)
		require.Equal(t, mask, e.mask)
		require.EqualValues(t, 9, e.cookie)
	})
}
