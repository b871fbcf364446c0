/* Requests that a session has been asked about, come again, and their replies.
 *
 * Only what is exactly of one shape is known here; whatever is not is left to
 * clientlane.py and serverlane.py, which are the reference, and judge it. A request:
 *
 *     Bind (unnamed portal, a statement that is in the list) [Describe that portal]
 *     Execute that portal, Sync, and nothing after it
 *
 * A reply: BindComplete [RowDescription or NoData] DataRow* CommandComplete,
 * ReadyForQuery outside of a transaction, and nothing after it.
 *
 * Every read is behind a comparison with the end of the message that it is in;
 * lengths are compared with what is left, so that no sum can overflow. Include
 * Python.h, stdint.h and string.h first, and recorder/_entry.h. */
#ifndef WIREWARDEN_REFRAIN_H
#define WIREWARDEN_REFRAIN_H

#define REQUEST_MOST 8192   /* bytes */
#define PARAMETERS_MOST 64
#define TYPE_MOST 24        /* bytes of what a binary parameter's text begins with */

/* What a parameter list of such a request takes as msgpack, at most: hex doubles. */
#define SHOWN_MOST (3 + PARAMETERS_MOST * (3 + TYPE_MOST) + 2 * REQUEST_MOST)

/* What is known of a statement. */
typedef struct {
    PyObject *name;     /* bytes */
    PyObject *fields;   /* bytes: the one RowDescription whose rows may be shown. NULL: none may */
    PyObject *types;    /* tuple of bytes: how texts of binary parameters begin */
    PyObject *decision; /* as the relay knows it */
    int masked;         /* results are looked at: the RowDescription has to be `fields` */
    int verdict;
    uint64_t shape;     /* of its commands on record */
} Refrain;

static inline uint32_t refrain_get32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}

static inline size_t refrain_get16(const uint8_t *p)
{
    return ((size_t)p[0] << 8) | p[1];
}

/* The statement that a name of `length` bytes is of, or NULL. */
static Refrain *refrain_named(Refrain *known, int count, const uint8_t *name, size_t length)
{
    for (int i = 0; i < count; i++)
        if ((size_t)PyBytes_GET_SIZE(known[i].name) == length &&
            memcmp(PyBytes_AS_STRING(known[i].name), name, length) == 0)
            return known + i;
    return NULL;
}

/* Packs what is shown of one value. NULL: it is left to Python. */
static uint8_t *refrain_show(uint8_t *out, const Refrain *known, size_t number, int form,
                             const uint8_t *value, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const char *type = "binary:";
    size_t length = 7;
    if (form == 0) {
        for (size_t i = 0; i < size; i++)
            if (value[i] & 0x80)
                return NULL;
        out = pack_str(out, size);
        memcpy(out, value, size);
        return out + size;
    }
    if (number < (size_t)PyTuple_GET_SIZE(known->types)) {
        PyObject *text = PyTuple_GET_ITEM(known->types, (Py_ssize_t)number);
        type = PyBytes_AS_STRING(text);
        length = (size_t)PyBytes_GET_SIZE(text);
    }
    out = pack_str(out, length + 2 * size);
    memcpy(out, type, length);
    out += length;
    for (size_t i = 0; i < size; i++) {
        *out++ = (uint8_t)digits[value[i] >> 4];
        *out++ = (uint8_t)digits[value[i] & 15];
    }
    return out;
}

/* Goes through the parameters of a Bind, `at` its formats, `end` its end: packs
 * them to *out, SHOWN_MOST bytes at least. 0: it is left to Python. */
static int refrain_bind(const uint8_t *at, const uint8_t *end, const Refrain *known, uint8_t **out)
{
    const uint8_t *forms;
    size_t formats, count, results;
    if (end - at < 2)
        return 0;
    formats = refrain_get16(at);
    forms = at + 2;
    if (formats > PARAMETERS_MOST || (size_t)(end - forms) < 2 * formats + 2)
        return 0;
    for (size_t i = 0; i < formats; i++)
        if (forms[2 * i] || forms[2 * i + 1] > 1)
            return 0;
    at = forms + 2 * formats;
    count = refrain_get16(at);
    at += 2;
    if (count > PARAMETERS_MOST || (formats > 1 && formats != count))
        return 0;
    if (count)
        *out = pack_array(*out, count);
    else
        *(*out)++ = 0xc0;
    for (size_t i = 0; i < count; i++) {
        uint32_t size;
        if (end - at < 4)
            return 0;
        size = refrain_get32(at);
        at += 4;
        if (size == 0xffffffffu) {
            *(*out)++ = 0xc0;
            continue;
        }
        if (size > (size_t)(end - at))
            return 0;
        *out = refrain_show(*out, known, i, formats == 0 ? 0 : forms[formats > 1 ? 2 * i + 1 : 1],
                            at, size);
        if (*out == NULL)
            return 0;
        at += size;
    }
    if (end - at < 2)
        return 0;
    results = refrain_get16(at);
    return results < 0x8000 && (size_t)(end - at - 2) == 2 * results;
}

/* The statement that a client's bytes run again, or NULL. No message may be longer than
 * `limit`. Its parameters are packed to *shown, SHOWN_MOST bytes at least, which moves on. */
static Refrain *refrain_request(const uint8_t *p, size_t size, Refrain *known, int count,
                                uint32_t limit, int *described, uint8_t **shown)
{
    static const uint8_t describe[] = {'D', 0, 0, 0, 6, 'P', 0};
    static const uint8_t execute[] = {'E', 0, 0, 0, 9, 0};
    static const uint8_t sync[] = {'S', 0, 0, 0, 4};
    const uint8_t *end, *stop;
    Refrain *found;
    uint32_t length;
    size_t rest;
    if (size < 20 || size > REQUEST_MOST || p[0] != 'B' || p[5] != 0)
        return NULL;
    length = refrain_get32(p + 1);
    if (length < 8 || length > limit || limit < 9 || length > size - 1)
        return NULL;
    end = p + 1 + length;
    stop = memchr(p + 6, 0, (size_t)(end - p - 6));
    if (stop == NULL)
        return NULL;
    found = refrain_named(known, count, p + 6, (size_t)(stop - p - 6));
    if (found == NULL || !refrain_bind(stop + 1, end, found, shown))
        return NULL;
    rest = size - 1 - length;
    *described = rest >= sizeof describe && memcmp(end, describe, sizeof describe) == 0;
    if (*described) {
        end += sizeof describe;
        rest -= sizeof describe;
    } else if (found->masked) {
        return NULL;
    }
    if (rest != sizeof execute + 4 + sizeof sync || memcmp(end, execute, sizeof execute) != 0 ||
        memcmp(end + sizeof execute + 4, sync, sizeof sync) != 0)
        return NULL;
    return found;
}

/* Is this the whole reply to a request for `known`, with nothing in it to look at? */
static int refrain_reply(const uint8_t *p, size_t size, const Refrain *known, int described)
{
    static const uint8_t bound[] = {'2', 0, 0, 0, 4};
    static const uint8_t ready[] = {'Z', 0, 0, 0, 5, 'I'};
    const uint8_t *end = p + size;
    int rows = !known->masked;
    if (size < sizeof bound || memcmp(p, bound, sizeof bound) != 0)
        return 0;
    p += sizeof bound;
    for (int first = 1;; first = 0) {
        uint32_t length;
        if (end - p < 5)
            return 0;
        length = refrain_get32(p + 1);
        if (length < 4 || length > (size_t)(end - p - 1))
            return 0;
        if (first && described) {
            if (p[0] == 'n' && length == 4) {
                rows = 0;
            } else if (p[0] != 'T') {
                return 0;
            } else if (known->masked) {
                if (known->fields == NULL ||
                    (size_t)PyBytes_GET_SIZE(known->fields) != length - 4 ||
                    memcmp(PyBytes_AS_STRING(known->fields), p + 5, length - 4) != 0)
                    return 0;
                rows = 1;
            }
        } else if (p[0] == 'D') {
            if (!rows || length < 6)
                return 0;
        } else if (p[0] == 'C') {
            p += 1 + length;
            return (size_t)(end - p) == sizeof ready && memcmp(p, ready, sizeof ready) == 0;
        } else {
            return 0;
        }
        p += 1 + length;
    }
}

#endif
