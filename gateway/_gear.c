/* The straight gear's inner loop in C, for what a session has been asked about before.
 *
 * A session that is at rest, and whose next request will in all likelihood be one that
 * was judged already, gets aboard: from then on its two sockets are read here. Bytes
 * that are exactly such a request, or its reply (protocols/postgres/_refrain.h), are
 * put on record (recorder/_entry.h) and sent on. Whatever else comes is handed to
 * Python, which first brings the session ashore: `leave` tells what happened since, so
 * that its conversation and its log go on as if they had done it themselves.
 *
 * Decisions are Python's: what is recognised is what `learn` named, and only while
 * what it depends on (`watch`) is as it was. `drive` goes round after round: it reads and
 * packs, frames what was packed for its place in the journal, writes it there, and only then
 * sends. When it can't be written, `undo` takes the round back.
 *
 * One thread calls all of this. Only the wait and the write let go of the interpreter.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../recorder/_entry.h"
#include "../protocols/postgres/_refrain.h"
#include "_ride.h"

#define EVENTS_MOST 256

/* -- what comes in -------------------------------------------------------- */

/* Is all that the answers depended on as it was? */
static int still(Ride *ride)
{
    for (int i = 0; i < WATCHED; i++) {
        PyObject *found = PyDict_GetItemWithError(ride->watched, ride->keys[i]);
        if (found == NULL) {
            if (PyErr_Occurred())
                PyErr_Clear();
            found = Py_None;
        }
        if (found != ride->values[i])
            return 0;
    }
    return 1;
}

/* May one of the gateway's secrets be in it? */
static int telling(const Gear *gear, const uint8_t *p, size_t size)
{
    Py_ssize_t count = PyTuple_GET_SIZE(gear->needles);
    if (count == 0)
        return 0;
    for (size_t i = 0; i + 1 < size; i++) {
        unsigned pair = p[i] | (unsigned)p[i + 1] << 8;
        if (!(gear->second[pair >> 3] >> (pair & 7) & 1))
            continue;
        for (Py_ssize_t k = 0; k < count; k++) {
            PyObject *needle = PyTuple_GET_ITEM(gear->needles, k);
            size_t length = (size_t)PyBytes_GET_SIZE(needle);
            if (length <= size - i && memcmp(p + i, PyBytes_AS_STRING(needle), length) == 0)
                return 1;
        }
    }
    return 0;
}

static int pack_room(Gear *gear, size_t more)
{
    if (gear->pack_room - gear->packed < more) {
        size_t room = (gear->packed + more) * 2;
        uint8_t *grown = PyMem_Realloc(gear->pack, room);
        if (grown == NULL)
            return 0;
        gear->pack = grown;
        gear->pack_room = room;
    }
    return 1;
}

/* Keeps the request: were the session to go ashore before its reply, Python
 * has to know of it. Also makes room for the places of it and its reply. */
static int keep(Ride *ride, const uint8_t *raw, size_t size)
{
    if (ride->request_room < size) {
        uint8_t *grown = PyMem_Realloc(ride->request, size * 2);
        if (grown == NULL)
            return 0;
        ride->request = grown;
        ride->request_room = size * 2;
    }
    memcpy(ride->request, raw, size);
    ride->request_size = size;
    return 1;
}

static int places_room(Ride *ride)
{
    if (ride->places_room == ride->placed) {
        size_t room = ride->places_room * 2 + 32;
        uint64_t *grown = PyMem_Resize(ride->places, uint64_t, room);
        if (grown == NULL)
            return 0;
        ride->places = grown;
        ride->places_room = room;
    }
    return 1;
}

/* A command on record, up to its digest; its parameters follow. */
static uint8_t *pack_command(uint8_t *p, uint64_t number, uint64_t shape)
{
    *p++ = 0x95;
    *p++ = 34; /* COMMAND */
    p = pack_uint(p, number);
    p = pack_uint(p, shape);
    *p++ = 0xc0; /* no digest */
    return p;
}

/* The bytes of `side` are what was expected: packs their record, and has them sent
 * after the round's write. 0, and nothing is changed, where Python has to look. */
static int take(Gear *gear, Ride *ride, int side, const uint8_t *raw, size_t size)
{
    State *now = &ride->now;
    Asked asked = ride->asked;
    Replied replied = {0};
    uint8_t *start, *p;
    uint64_t at;
    struct timespec clock;
    if (now->under_way != (side == UPSTREAM) || !still(ride) ||
        !pack_room(gear, RECORD_MOST + SHOWN_MOST + size) || !places_room(ride))
        return 0;
    if (side == UPSTREAM &&
        (!refrain_reply(raw, size, &asked, &replied) || telling(gear, raw, size)))
        return 0;
    if (side == CLIENT && !refrain_request(raw, size, ride->known, ride->count, now->unnamed,
                                           ride->limit, &asked))
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    at = (uint64_t)clock.tv_sec * 1000000000u + (uint64_t)clock.tv_nsec;
    if (at >= ride->until || now->room <= 0)
        return 0;
    start = p = gear->pack + gear->packed + RECORD_HEADER;
    p = pack_array(p, side == CLIENT ? 5 + asked.parsed : 4);
    p = pack_uint(p, ride->session);
    p = pack_uint(p, now->seq);
    p = pack_uint(p, at - ride->start);
    if (side == CLIENT) {
        const Refrain *found = asked.found;
        if (asked.parsed) {
            p = pack_command(p, now->number, found->prepared);
            *p++ = 0xc0; /* no parameters */
        }
        p = pack_command(p, now->number + (unsigned)asked.parsed, found->shape);
        if (!refrain_bind(asked.values, asked.end, found, &p) || !keep(ride, raw, size))
            return 0;
        ride->before = *now;
        ride->asked = asked;
        now->number += 1 + (unsigned)asked.parsed;
        now->verdicts[found->verdict] += 1 + (unsigned)asked.parsed;
        if (found->masked) {
            now->masked = now->number - 1;
            now->veiled = 1;
            Py_XSETREF(ride->decision, Py_NewRef(found->decision));
        }
        now->under_way = now->kept = 1;
    } else {
        ride->before = *now;
        if (asked.parsed) {
            now->unnamed = asked.found;
            now->renewed = now->done + 1;
        }
        now->status = replied.status;
        now->rows = replied.rows;
        now->suspended = replied.suspended;
        if (replied.status == 'I') {
            now->rested = 1;
            now->veiled = 0;
        }
        now->under_way = 0;
        now->done++;
    }
    p = pack_array(p, 4);
    *p++ = (uint8_t)(side << 2); /* PASS */
    p = pack_uint(p, now->arrived[side]);
    p = pack_uint(p, now->left[!side]);
    p = pack_bin(p, raw, size);
    now->arrived[side] += size;
    now->left[!side] += size;
    now->seq++;
    now->moved++;
    now->room -= p - start;
    ride->placed_before = ride->placed;
    ride->packed_at = gear->packed;
    ride->packed = (uint32_t)(p - start);
    gear->packed += (size_t)(p - start) + RECORD_HEADER;
    ride->raw = raw;
    ride->size = size;
    ride->out = !side;
    ride->touched = 1;
    gear->touched[gear->touched_count++] = ride;
    gear->records++;
    return 1;
}

/* Adds what Python has to see to; `ride` is whose it is, NULL: nobody's aboard. */
static int pass_on(Gear *gear, Ride *ride, PyObject **others, int fd, uint32_t events,
                   PyObject *data)
{
    PyObject *item;
    int failed;
    if (ride != NULL)
        ride->passed = gear->rounds;
    if (data == NULL || (*others == NULL && (*others = PyList_New(0)) == NULL)) {
        Py_XDECREF(data);
        return -1;
    }
    item = Py_BuildValue("(iIN)", fd, events, data);
    if (item == NULL)
        return -1;
    failed = PyList_Append(*others, item);
    Py_DECREF(item);
    return failed;
}

static int ready(Gear *gear, Ride *ride, int fd, PyObject **others)
{
    int side = fd == ride->fds[UPSTREAM];
    uint8_t *raw = gear->copy + gear->copied;
    ssize_t got;
    if (ride->touched || gear->touched_count == TOUCHED_MOST ||
        COPY_MOST - gear->copied < READ_MOST)
        return 0; /* it will be ready in the next round as well */
    do
        got = recv(fd, raw, READ_MOST, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        return pass_on(gear, ride, others, fd, EPOLLIN,
                       PyObject_CallFunction(PyExc_OSError, "is", errno, strerror(errno)));
    }
    if (got == 0 || got == READ_MOST || !take(gear, ride, side, raw, (size_t)got))
        return pass_on(gear, ride, others, fd, EPOLLIN,
                       PyBytes_FromStringAndSize((char *)raw, got));
    gear->copied += (size_t)got;
    return 0;
}

/* Waits up to `wait` ms for events, reads and packs. -1: it can't wait, an exception is set. */
static int gear_read(Gear *self, int wait, PyObject **others)
{
    struct epoll_event events[EVENTS_MOST];
    int count;
    if (wait <= 0) {
        count = epoll_wait(self->epoll, events, EVENTS_MOST, 0);
    } else {
        Py_BEGIN_ALLOW_THREADS
        count = epoll_wait(self->epoll, events, EVENTS_MOST, wait);
        Py_END_ALLOW_THREADS
    }
    if (count < 0) {
        if (errno != EINTR) {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        count = 0;
    }
    self->copied = self->packed = 0;
    self->rounds++;
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        Ride *ride = fd < self->rides_size ? self->rides[fd] : NULL;
        int failed;
        if (ride != NULL && ride->passed == self->rounds)
            continue; /* Python hears of that side first; this one will be ready again */
        failed = ride != NULL && events[i].events == EPOLLIN
                     ? ready(self, ride, fd, others)
                     : pass_on(self, ride, others, fd, events[i].events, Py_NewRef(Py_None));
        if (failed)
            Py_FatalError("no memory left for what was heard");
    }
    return 0;
}

/* -- what goes out -------------------------------------------------------- */

/* Frames what was packed for `place`; logs without another record there go to `strangers`. */
static void gear_frame(Gear *self, const Place *place, PyObject **strangers)
{
    for (int i = 0; i < self->touched_count; i++) {
        Ride *ride = self->touched[i];
        uint64_t offset = place->end + ride->packed_at;
        put_record_header(self->pack + ride->packed_at, DATA_FIRST, ride->packed, place->seed,
                          offset);
        ride->places[ride->placed++] = place->base + offset;
        if (ride->segment != place->segment) {
            if ((*strangers == NULL && (*strangers = PyList_New(0)) == NULL) ||
                PyList_Append(*strangers, ride->log) < 0)
                Py_FatalError("no memory left for whose records are in a segment");
            ride->segment = place->segment;
        }
    }
}

/* Writes it. What went wrong: an errno, -1: only a part was taken; 0: nothing. */
static int gear_write(Gear *self, int fd)
{
    ssize_t wrote;
    int fault;
    Py_BEGIN_ALLOW_THREADS
    do
        wrote = write(fd, self->pack, self->packed);
    while (wrote < 0 && errno == EINTR);
    fault = wrote < 0 ? errno : 0;
    Py_END_ALLOW_THREADS
    return fault == 0 && wrote != (ssize_t)self->packed ? -1 : fault;
}

/* Sends what is on record now; what the kernel does not take goes to `late`. */
static void gear_release(Gear *self, PyObject **late)
{
    for (int i = 0; i < self->touched_count; i++) {
        Ride *ride = self->touched[i];
        PyObject *item;
        int failed = 0;
        ssize_t sent;
        ride->touched = 0;
        do
            sent = send(ride->fds[ride->out], ride->raw, ride->size, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        if (sent == (ssize_t)ride->size)
            continue;
        if (sent < 0) {
            failed = errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno;
            sent = 0;
        }
        item = Py_BuildValue("(Oiy#i)", ride->rider, ride->out, (char *)ride->raw + sent,
                             (Py_ssize_t)ride->size - sent, failed);
        if (*late == NULL)
            *late = PyList_New(0);
        if (item == NULL || *late == NULL || PyList_Append(*late, item) < 0)
            /* Bytes on record that never leave: better no worker than such a one. */
            Py_FatalError("no memory left for what the kernel did not take");
        Py_DECREF(item);
    }
    self->touched_count = 0;
}

/* Rounds until there is something for Python to do, nothing comes any more, it is `until`, or
 * the segment is full. What a fault left unwritten and unsent is there to be taken back. */
static PyObject *gear_drive(Gear *self, PyObject *args)
{
    PyObject *others = NULL, *late = NULL, *strangers = NULL, *told;
    unsigned long long until, end, base, most;
    uint64_t before;
    Place place;
    int fd, nap, wait = 0, fault = 0, moved = 0;
    if (!PyArg_ParseTuple(args, "Ki(iKKIIK)", &until, &nap, &fd, &end, &base, &place.seed,
                          &place.segment, &most))
        return NULL;
    if (self->touched_count) {
        PyErr_SetString(PyExc_RuntimeError, "the last round was not finished");
        return NULL;
    }
    place.base = base;
    place.end = before = end;
    for (;;) {
        struct timespec clock;
        if (gear_read(self, wait, &others) < 0) {
            if (!moved)
                return NULL;
            PyErr_Clear(); /* the next call meets it again */
            break;
        }
        if (!self->touched_count)
            break;
        gear_frame(self, &place, &strangers);
        fault = gear_write(self, fd);
        if (fault)
            break;
        place.end += self->packed;
        gear_release(self, &late);
        moved = 1;
        if (others != NULL || late != NULL || place.end - before >= most)
            break;
        clock_gettime(CLOCK_MONOTONIC, &clock);
        if ((uint64_t)clock.tv_sec * 1000000000u + (uint64_t)clock.tv_nsec >= until)
            break;
        wait = nap;
    }
    told = Py_BuildValue("(NNNKiN)", others != NULL ? others : Py_NewRef(Py_None),
                         late != NULL ? late : Py_NewRef(Py_None),
                         strangers != NULL ? strangers : Py_NewRef(Py_None), place.end - before,
                         fault, PyBool_FromLong(moved));
    if (told == NULL) /* The journal would go on at a place that is taken. */
        Py_FatalError("no memory left to say what was written");
    return told;
}

/* Takes the round back; whose it was. */
static PyObject *gear_undo(Gear *self, PyObject *ignored)
{
    PyObject *riders = PyList_New(0);
    (void)ignored;
    for (int i = 0; i < self->touched_count; i++) {
        Ride *ride = self->touched[i];
        ride->now = ride->before;
        if (!ride->now.under_way) /* what was kept of the request before is gone */
            ride->now.masked = ride->now.kept = 0;
        ride->placed = ride->placed_before;
        ride->touched = 0;
        if (riders == NULL || PyList_Append(riders, ride->rider) < 0)
            /* Somebody would wait for ever for bytes that were read and dropped. */
            Py_FatalError("no memory left to say whose round was taken back");
    }
    self->touched_count = 0;
    return riders;
}

static PyObject *gear_ride(Gear *self, PyObject *args)
{
    unsigned long long session, start;
    unsigned int limit;
    Ride *ride;
    if (!PyArg_ParseTuple(args, "KKI", &session, &start, &limit))
        return NULL;
    ride = PyObject_GC_New(Ride, &RideType);
    if (ride == NULL)
        return NULL;
    memset((char *)ride + sizeof(PyObject), 0, sizeof *ride - sizeof(PyObject));
    ride->gear = (Gear *)Py_NewRef(self);
    ride->session = session;
    ride->start = start;
    ride->limit = limit;
    PyObject_GC_Track(ride);
    return (PyObject *)ride;
}

static PyObject *gear_aboard(Gear *self, PyObject *ignored)
{
    PyObject *riders = PyList_New(0);
    (void)ignored;
    for (int fd = 0; riders != NULL && fd < self->rides_size; fd++)
        if (self->rides[fd] != NULL && self->rides[fd]->fds[CLIENT] == fd &&
            PyList_Append(riders, self->rides[fd]->rider) < 0)
            Py_CLEAR(riders);
    return riders;
}

static PyObject *gear_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    Gear *self;
    PyObject *needles;
    int epoll;
    (void)named;
    if (!PyArg_ParseTuple(args, "iO!", &epoll, &PyTuple_Type, &needles))
        return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(needles); i++)
        if (!PyBytes_Check(PyTuple_GET_ITEM(needles, i)) ||
            PyBytes_GET_SIZE(PyTuple_GET_ITEM(needles, i)) < 2) {
            PyErr_SetString(PyExc_ValueError, "a needle is two bytes or more");
            return NULL;
        }
    self = (Gear *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->epoll = epoll;
    self->needles = Py_NewRef(needles);
    self->copy = PyMem_Malloc(COPY_MOST);
    self->second = PyMem_Calloc(1, 1 << 13);
    if (self->copy == NULL || self->second == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(needles); i++) {
        const uint8_t *p = (uint8_t *)PyBytes_AS_STRING(PyTuple_GET_ITEM(needles, i));
        unsigned pair = p[0] | (unsigned)p[1] << 8;
        self->second[pair >> 3] |= (uint8_t)(1 << (pair & 7));
    }
    return (PyObject *)self;
}

static void gear_dealloc(Gear *self)
{
    /* Who is aboard holds a reference: nobody is. */
    Py_CLEAR(self->needles);
    PyMem_Free(self->copy);
    PyMem_Free(self->second);
    PyMem_Free(self->pack);
    PyMem_Free(self->rides);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef gear_methods[] = {
    {"drive", (PyCFunction)gear_drive, METH_VARARGS, NULL},
    {"undo", (PyCFunction)gear_undo, METH_NOARGS, NULL},
    {"ride", (PyCFunction)gear_ride, METH_VARARGS, NULL},
    {"aboard", (PyCFunction)gear_aboard, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef gear_members[] = {
    {"touched", T_INT, offsetof(Gear, touched_count), READONLY, NULL},
    {"rounds", T_ULONGLONG, offsetof(Gear, rounds), READONLY, NULL},
    {"records", T_ULONGLONG, offsetof(Gear, records), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject GearType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "gateway._gear.Gear",
    .tp_basicsize = sizeof(Gear),
    .tp_dealloc = (destructor)gear_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = gear_methods,
    .tp_members = gear_members,
    .tp_new = gear_new,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_gear", NULL, -1, NULL,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__gear(void)
{
    PyObject *made;
    crc_prepare();
    if (PyType_Ready(&RideType) < 0 || PyType_Ready(&GearType) < 0)
        return NULL;
    made = PyModule_Create(&module);
    if (made == NULL || PyModule_AddObject(made, "Gear", Py_NewRef(&GearType)) < 0)
        return NULL;
#ifdef SOURCES
    if (PyModule_AddStringConstant(made, "SOURCES", SOURCES) < 0)
        return NULL;
#endif
    return made;
}
