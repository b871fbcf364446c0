/* What a screen must see of a run of rows: gather, as in rowloop.py. */
#ifndef WIREWARDEN_GATHER_H
#define WIREWARDEN_GATHER_H

#include "_frames.h"

typedef struct {
    Out joined, index;
    const unsigned char *start;
} Gathered;

static int gather_piece(Gathered *g, Py_ssize_t column, const unsigned char *from,
                        const void *piece, size_t size)
{
    uint32_t entry[3];
    if (g->joined.used > 0xffffffffu - size - 1)
        return lie("too much to look at in one run of rows");
    entry[0] = (uint32_t)g->joined.used;
    entry[1] = (uint32_t)(from - g->start);
    entry[2] = (uint32_t)column;
    if (out_add(&g->index, entry, sizeof(entry)) < 0 || out_room(&g->joined, size + 1) < 0)
        return -1;
    if (size)
        memcpy(g->joined.data + g->joined.used, piece, size);
    g->joined.used += size;
    g->joined.data[g->joined.used++] = 0;
    return 0;
}

/* A binary array: int32 dimensions, flags, element type; int32 size and lower
 * bound of each dimension; each element as a length word and its bytes. */
static int gather_array(Gathered *g, Py_ssize_t column, const unsigned char *at, size_t size)
{
    static const char *bad = "a binary array is malformed";
    const unsigned char *end = at + size, *dims = at + 12;
    uint32_t ndim, dim;
    uint64_t count;

    if (size < 12)
        return lie(bad);
    ndim = get32(at);
    if (ndim > 6 || size - 12 < 8 * (size_t)ndim)
        return lie(bad);
    at = dims + 8 * ndim;
    count = ndim ? 1 : 0;
    for (dim = 0; dim < ndim; dim++) {
        uint64_t more = get32(dims + 8 * dim);
        /* An element takes at least four bytes. Six factors below 2^32 could
         * overflow: stop at the first product that is too big, but let a zero
         * that follows make the whole empty, as the reference does. */
        if (count > 0xffffffffu && more != 0)
            count = UINT64_MAX;
        else
            count *= more;
    }
    if (count > (uint64_t)(end - at) / 4)
        return lie(bad);
    for (; count > 0; count--) {
        uint32_t length;
        if (end - at < 4)
            return lie(bad);
        length = get32(at);
        at += 4;
        if (length == 0xffffffffu)
            continue;
        if (length > 0x7fffffffu || (size_t)(end - at) < length)
            return lie(bad);
        if (gather_piece(g, column, at, at, length) < 0)
            return -1;
        at += length;
    }
    return at == end ? 0 : lie(bad);
}

#define MOST_GROUPS 16

/* A binary numeric: int16 count of groups, int16 weight of the first, sign,
 * scale, then the groups of four decimal digits. See rowloop._digits. */
static int gather_numeric(Gathered *g, Py_ssize_t column, const unsigned char *at, size_t size)
{
    static const char *bad = "a binary numeric is malformed";
    int count, weight, places, place, begun = 0;
    Out *to = &g->joined;
    size_t first = to->used;
    uint32_t entry[3];

    if (size < 8)
        return lie(bad);
    count = (at[0] << 8) | at[1];
    weight = (int16_t)((at[2] << 8) | at[3]);
    if (size != 8 + 2 * (size_t)count)
        return lie(bad);
    if (weight < -MOST_GROUPS || weight >= MOST_GROUPS || count == 0)
        return 0;
    places = weight + 1 > count ? weight + 1 : count;
    if (first > 0xffffffffu - 5 * (size_t)places - 8)
        return lie("too much to look at in one run of rows");
    if (out_room(to, 5 * (size_t)places + 8) < 0)
        return -1;
    for (place = 0; place < places; place++) {
        int group = 0, unit;
        if (place < count)
            group = (at[8 + 2 * place] << 8) | at[9 + 2 * place];
        if (group > 9999)
            return lie(bad);
        if (place == weight + 1) {
            to->data[to->used++] = '.';
            begun = 1;
        }
        for (unit = 1000; unit > 0; unit /= 10) {
            int digit = group / unit % 10;
            if (digit || begun) {
                to->data[to->used++] = (unsigned char)('0' + digit);
                begun = 1;
            }
        }
    }
    if (to->used == first)
        return 0;
    to->data[to->used++] = 0;
    entry[0] = (uint32_t)first;
    entry[1] = (uint32_t)(at - g->start);
    entry[2] = (uint32_t)column;
    return out_add(&g->index, entry, sizeof(entry));
}

static PyObject *gather(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *buffer, *looks, *result = NULL;
    const unsigned char *at, *end;
    const char *look;
    Py_ssize_t columns, column;
    Gathered g = {{NULL, 0, 0}, {NULL, 0, 0}, NULL};

    if (!PyArg_ParseTuple(args, "SS", &buffer, &looks))
        return NULL;
    columns = PyBytes_GET_SIZE(looks);
    look = PyBytes_AS_STRING(looks);
    at = g.start = (const unsigned char *)PyBytes_AS_STRING(buffer);
    end = at + PyBytes_GET_SIZE(buffer);
    if ((uint64_t)(end - at) > 0xffffffffu) {
        lie("too much to look at in one run of rows");
        return NULL;
    }
    if (out_room(&g.joined, (size_t)(end - at)) < 0)
        goto failed;
    while (at < end) {
        const unsigned char *stop = row_end(at, end, columns);
        if (stop == NULL)
            goto failed;
        at += HEAD;
        for (column = 0; column < columns; column++) {
            int64_t length = column_length(&at, stop);
            int bad = 0;
            if (length == -2)
                goto failed;
            if (length < 0)
                continue;
            switch (look[column]) {
            case 0:
                break;
            case 3:
                bad = gather_array(&g, column, at, (size_t)length);
                break;
            case 4: {
                char digits[24];
                uint64_t bits;
                int size;
                if (length != 8) {
                    lie("a binary int8 is malformed");
                    goto failed;
                }
                bits = ((uint64_t)get32(at) << 32) | get32(at + 4);
                size = PyOS_snprintf(digits, sizeof(digits), "%s%llu", bits >> 63 ? "-" : "",
                                     (unsigned long long)(bits >> 63 ? ~bits + 1 : bits));
                bad = gather_piece(&g, column, at, digits, (size_t)size);
                break;
            }
            case 5:
                bad = gather_numeric(&g, column, at, (size_t)length);
                break;
            case 2:
                if (length > 0) {
                    bad = gather_piece(&g, column, at + 1, at + 1, (size_t)length - 1);
                    break;
                }
                /* fall through */
            default:
                bad = gather_piece(&g, column, at, at, (size_t)length);
            }
            if (bad < 0)
                goto failed;
            at += length;
        }
        if (at != stop) {
            lie("a DataRow goes on after its columns");
            goto failed;
        }
    }
    result = Py_BuildValue("(y#y#)", g.joined.used ? (const char *)g.joined.data : "",
                           (Py_ssize_t)g.joined.used,
                           g.index.used ? (const char *)g.index.data : "",
                           (Py_ssize_t)g.index.used);
failed:
    PyMem_Free(g.joined.data);
    PyMem_Free(g.index.data);
    return result;
}

#endif
