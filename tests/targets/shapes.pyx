# Functions of Cython that call each other in every way, and Python at last.


cdef class Shape:
    cdef int corners

    def __init__(self, corners):
        self.corners = corners

    def area(self, block):
        total = 0
        for i in range(self.corners):
            total += i
        block()  # MARK shapes.Shape.area
        return total


cdef int helper(int corners, object block) except -1:
    Shape(corners).area(block)  # MARK shapes.helper
    return corners


def work(corners, block):
    return helper(corners + 1, block)  # MARK shapes.work


cpdef int both(int corners, object block) except -1:
    return work(corners, block)  # MARK shapes.both
