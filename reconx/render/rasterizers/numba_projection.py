"""Compiled projection of Gaussians to the screen, forward and backward, one view at a time.

Owns the layout of the per-Gaussian record that blending reads.
"""

import math

import numpy as np
from numba import prange

from ...compilation import f4, merged, parallel

BLOCK = 512
"""Gaussians per parallel task; fixed, so that sums over blocks do not depend on the threads."""

# One record is one cache line of 16 floats.
X, Y, CONIC_XX, CONIC_XY, CONIC_YY, OPACITY, RED, GREEN, BLUE, Z = range(10)
REACH, SLOPE, WIDTH2, HEIGHT2, PEAK = range(10, 15)
"""The ellipse that the Gaussian can reach: twice sigma is at most REACH; the row at dy from the
centre is covered on SLOPE * dy +- sqrt(WIDTH2 * (REACH - HEIGHT2 * dy^2)), and ends
farthest right at PEAK."""
RECORD = 16

ALPHA_MIN_INVERSE = f4(255)


@merged
def _rotation(quats, i, out):
    """Fill `out` with the rotation matrix; return the normalised quaternion and 1 / its norm."""
    w, x, y, z = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
    inverse = f4(1) / max(math.sqrt(w * w + x * x + y * y + z * z), f4(1e-12))
    w, x, y, z = w * inverse, x * inverse, y * inverse, z * inverse
    two = f4(2)
    out[0, 0] = f4(1) - two * (y * y + z * z)
    out[0, 1] = two * (x * y - w * z)
    out[0, 2] = two * (x * z + w * y)
    out[1, 0] = two * (x * y + w * z)
    out[1, 1] = f4(1) - two * (x * x + z * z)
    out[1, 2] = two * (y * z - w * x)
    out[2, 0] = two * (x * z - w * y)
    out[2, 1] = two * (y * z + w * x)
    out[2, 2] = f4(1) - two * (x * x + y * y)
    return w, x, y, z, inverse


@merged
def _local(means, viewmat, i, j):
    """Coordinate j of Gaussian i in the camera's frame."""
    return (
        viewmat[j, 0] * means[i, 0]
        + viewmat[j, 1] * means[i, 1]
        + viewmat[j, 2] * means[i, 2]
        + viewmat[j, 3]
    )


@merged
def _screen_axes(scales, i, rotation, viewmat, fx, fy, u, v, turned, rows):
    """Fill `turned` (camera axes, unscaled) and `rows` (the 2 x 3 square root of the covariance).

    u and v are the clamped slopes x / z and y / z; fx and fy are already divided by z.
    """
    for k in range(3):
        for j in range(3):
            turned[j, k] = (
                viewmat[j, 0] * rotation[0, k]
                + viewmat[j, 1] * rotation[1, k]
                + viewmat[j, 2] * rotation[2, k]
            )
        rows[0, k] = fx * (turned[0, k] - u * turned[2, k]) * scales[i, k]
        rows[1, k] = fy * (turned[1, k] - v * turned[2, k]) * scales[i, k]


@merged
def _covariance(rows, eps2d, normal):
    """Screen covariance: xx, xy, yy, area, determinant; fills `normal`, b0 x b1.

    det(B B^T) = |b0 x b1|^2 (Lagrange): no cancellation, unlike xx * yy - xy * xy.
    """
    xx = rows[0, 0] * rows[0, 0] + rows[0, 1] * rows[0, 1] + rows[0, 2] * rows[0, 2]
    xy = rows[0, 0] * rows[1, 0] + rows[0, 1] * rows[1, 1] + rows[0, 2] * rows[1, 2]
    yy = rows[1, 0] * rows[1, 0] + rows[1, 1] * rows[1, 1] + rows[1, 2] * rows[1, 2]
    normal[0] = rows[0, 1] * rows[1, 2] - rows[0, 2] * rows[1, 1]
    normal[1] = rows[0, 2] * rows[1, 0] - rows[0, 0] * rows[1, 2]
    normal[2] = rows[0, 0] * rows[1, 1] - rows[0, 1] * rows[1, 0]
    area2 = normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2]
    determinant = area2 + eps2d * (xx + yy + eps2d)
    return xx + eps2d, xy, yy + eps2d, math.sqrt(area2), determinant


@merged
def _first_pixel(low, size):
    return np.int32(min(max(math.ceil(low - f4(0.5)), f4(0)), size))


@merged
def _end_pixel(high, size):
    return np.int32(min(max(math.floor(high - f4(0.5)) + f4(1), f4(0)), size))


@parallel
def project(
    means, quats, scales, opacities, colors, viewmat, K, limits, size, near, eps2d, antialiased
):
    """Records and pixel boxes (x0, y0, x1, y1; empty where not visible) of all Gaussians.

    All arguments are those of `Rasterizer` for one view, in float32, and: limits, the least and
    greatest x / z, then y / z, at which the Jacobian is taken; size, (width, height) in pixels.
    """
    count = len(means)
    records = np.empty((count, RECORD), f4)
    boxes = np.zeros((count, 4), np.int32)
    for block in prange((count + BLOCK - 1) // BLOCK):
        rotation, turned = np.empty((3, 3), f4), np.empty((3, 3), f4)
        rows, normal = np.empty((2, 3), f4), np.empty(3, f4)
        for i in range(block * BLOCK, min(count, (block + 1) * BLOCK)):
            z = _local(means, viewmat, i, 2)
            if not z >= near:
                continue
            over_z = f4(1) / z
            u, v = _local(means, viewmat, i, 0) * over_z, _local(means, viewmat, i, 1) * over_z
            _rotation(quats, i, rotation)
            fx, fy = K[0, 0] * over_z, K[1, 1] * over_z
            clamped_u = min(max(u, limits[0]), limits[1])
            clamped_v = min(max(v, limits[2]), limits[3])
            _screen_axes(scales, i, rotation, viewmat, fx, fy, clamped_u, clamped_v, turned, rows)
            xx, xy, yy, area, determinant = _covariance(rows, eps2d, normal)
            opacity = opacities[i]
            if antialiased:
                opacity *= area / math.sqrt(determinant)
            if not (determinant > 0 and opacity * ALPHA_MIN_INVERSE >= 1):
                continue
            x, y = K[0, 0] * u + K[0, 2], K[1, 1] * v + K[1, 2]
            # o exp(-sigma) = 1/255 bounds sigma.
            reach = f4(2) * math.log(ALPHA_MIN_INVERSE * opacity)
            half_x, half_y = math.sqrt(reach * xx), math.sqrt(reach * yy)
            x0, x1 = _first_pixel(x - half_x, size[0]), _end_pixel(x + half_x, size[0])
            y0, y1 = _first_pixel(y - half_y, size[1]), _end_pixel(y + half_y, size[1])
            if x0 >= x1 or y0 >= y1:
                continue
            boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3] = x0, y0, x1, y1
            records[i, X], records[i, Y], records[i, Z] = x, y, z
            records[i, CONIC_XX] = yy / determinant
            records[i, CONIC_XY] = -xy / determinant
            records[i, CONIC_YY] = xx / determinant
            records[i, OPACITY] = opacity
            records[i, RED] = colors[i, 0]
            records[i, GREEN] = colors[i, 1]
            records[i, BLUE] = colors[i, 2]
            records[i, REACH] = reach
            records[i, SLOPE] = xy / yy
            records[i, WIDTH2] = determinant / yy
            records[i, HEIGHT2] = f4(1) / yy
            records[i, PEAK] = xy * math.sqrt(reach / xx)
    return records, boxes


@merged
def _grad_rows(grad, record, opacity, antialiased, rows, normal, area, determinant, out):
    """Fill `out` with dL/drows (2 x 3) and return dL/dopacity.

    With Q the conic matrix, dL/dcovariance = -Q (dL/dQ) Q. Antialiasing multiplies the opacity by
    rho = area / sqrt(det): d rho = d area / sqrt(det) - rho / 2 tr(Q dcovariance).
    """
    a, b, c = record[CONIC_XX], record[CONIC_XY], record[CONIC_YY]
    half = f4(0.5) * grad[CONIC_XY]
    m00, m01 = grad[CONIC_XX] * a + half * b, grad[CONIC_XX] * b + half * c
    m10, m11 = half * a + grad[CONIC_YY] * b, half * b + grad[CONIC_YY] * c
    gxx, gxy, gyy = -(a * m00 + b * m10), -(a * m01 + b * m11), -(b * m01 + c * m11)
    grad_opacity = grad[OPACITY]
    pull = f4(0)
    if antialiased:
        rho = area / math.sqrt(determinant)
        shrink = f4(0.5) * grad_opacity * opacity * rho
        gxx, gxy, gyy = gxx - shrink * a, gxy - shrink * b, gyy - shrink * c
        # The area has no direction in which to shrink where it is 0 already.
        if area > 0:
            pull = grad_opacity * opacity / (math.sqrt(determinant) * area)
        grad_opacity *= rho
    for k in range(3):
        p, q = (k + 1) % 3, (k + 2) % 3
        out[0, k] = f4(2) * (gxx * rows[0, k] + gxy * rows[1, k])
        out[0, k] += pull * (rows[1, p] * normal[q] - rows[1, q] * normal[p])
        out[1, k] = f4(2) * (gxy * rows[0, k] + gyy * rows[1, k])
        out[1, k] += pull * (normal[p] * rows[0, q] - normal[q] * rows[0, p])
    return grad_opacity


@merged
def _grad_quaternion(grad, w, x, y, z, inverse, out):
    """Write dL/dquaternion for dL/drotation `grad`, through the normalisation."""
    two = f4(2)
    gw = x * (grad[2, 1] - grad[1, 2]) + y * (grad[0, 2] - grad[2, 0])
    gw = two * (gw + z * (grad[1, 0] - grad[0, 1]))
    gx = y * (grad[0, 1] + grad[1, 0]) + z * (grad[0, 2] + grad[2, 0])
    gx = two * (gx + w * (grad[2, 1] - grad[1, 2]) - two * x * (grad[1, 1] + grad[2, 2]))
    gy = x * (grad[0, 1] + grad[1, 0]) + z * (grad[1, 2] + grad[2, 1])
    gy = two * (gy + w * (grad[0, 2] - grad[2, 0]) - two * y * (grad[0, 0] + grad[2, 2]))
    gz = x * (grad[0, 2] + grad[2, 0]) + y * (grad[1, 2] + grad[2, 1])
    gz = two * (gz + w * (grad[1, 0] - grad[0, 1]) - two * z * (grad[0, 0] + grad[1, 1]))
    along = gw * w + gx * x + gy * y + gz * z
    out[0], out[1] = (gw - along * w) * inverse, (gx - along * x) * inverse
    out[2], out[3] = (gy - along * y) * inverse, (gz - along * z) * inverse


@parallel
def project_backward(
    means,
    quats,
    scales,
    opacities,
    viewmat,
    K,
    limits,
    eps2d,
    antialiased,
    records,
    slots,
    grad_pairs,
):
    """Gradients of one view's inputs from those of its (Gaussian, tile) pairs.

    Arguments are those of `project`, the records that it returned, and: slots, Gaussian i's pairs
    being slots[i] to slots[i + 1]; grad_pairs, dL/d(first ten fields of the record) per pair.

    Returns:
        Gradients of means, quats, scales, opacities and colors; and per block those of the camera:
        viewmat's first three rows, then fx, fy, cx, cy.
    """
    count = len(means)
    blocks = (count + BLOCK - 1) // BLOCK
    grad_means, grad_quats = np.zeros((count, 3), f4), np.zeros((count, 4), f4)
    grad_scales, grad_opacities = np.zeros((count, 3), f4), np.zeros(count, f4)
    grad_colors, grad_camera = np.zeros((count, 3), f4), np.zeros((blocks, 16), np.float64)
    for block in prange(blocks):
        rotation, turned = np.empty((3, 3), f4), np.empty((3, 3), f4)
        rows, normal, grad = np.empty((2, 3), f4), np.empty(3, f4), np.empty(Z + 1, f4)
        grad_rows, grad_rotation = np.empty((2, 3), f4), np.empty((3, 3), f4)
        grad_local, grad_axis = np.empty(3, f4), np.empty(3, f4)
        grad_turn = np.empty((3, 3), f4)
        camera = grad_camera[block]
        for i in range(block * BLOCK, min(count, (block + 1) * BLOCK)):
            if slots[i] == slots[i + 1]:
                continue
            grad[:] = 0
            for pair in range(slots[i], slots[i + 1]):
                for field in range(Z + 1):
                    grad[field] += grad_pairs[pair, field]
            for j in range(3):
                grad_colors[i, j] = grad[RED + j]
            over_z = f4(1) / _local(means, viewmat, i, 2)
            u, v = _local(means, viewmat, i, 0) * over_z, _local(means, viewmat, i, 1) * over_z
            w, x, y, z, inverse = _rotation(quats, i, rotation)
            fx, fy = K[0, 0] * over_z, K[1, 1] * over_z
            clamped_u = min(max(u, limits[0]), limits[1])
            clamped_v = min(max(v, limits[2]), limits[3])
            _screen_axes(scales, i, rotation, viewmat, fx, fy, clamped_u, clamped_v, turned, rows)
            _, _, _, area, determinant = _covariance(rows, eps2d, normal)
            grad_opacities[i] = _grad_rows(
                grad,
                records[i],
                opacities[i],
                antialiased,
                rows,
                normal,
                area,
                determinant,
                grad_rows,
            )

            # rows[0, k] = fx / z (axis0 - u axis2), pixel x = fx u + cx, and alike for y.
            grad_u, grad_v = K[0, 0] * grad[X], K[1, 1] * grad[Y]
            clamped_grad_u, clamped_grad_v = f4(0), f4(0)
            zoom_x, zoom_y = f4(0), f4(0)
            grad_rotation[:], grad_turn[:] = 0, 0
            for k in range(3):
                grad_axis[0], grad_axis[1] = fx * grad_rows[0, k], fy * grad_rows[1, k]
                grad_axis[2] = -(clamped_u * grad_axis[0] + clamped_v * grad_axis[1])
                clamped_grad_u -= turned[2, k] * scales[i, k] * grad_axis[0]
                clamped_grad_v -= turned[2, k] * scales[i, k] * grad_axis[1]
                zoom_x += rows[0, k] * grad_rows[0, k]
                zoom_y += rows[1, k] * grad_rows[1, k]
                for j in range(3):
                    grad_scales[i, k] += grad_axis[j] * turned[j, k]
                    grad_axis[j] *= scales[i, k]
                for j in range(3):
                    for m in range(3):
                        grad_rotation[m, k] += viewmat[j, m] * grad_axis[j]
                        grad_turn[j, m] += grad_axis[j] * rotation[m, k]
            if limits[0] <= u <= limits[1]:
                grad_u += clamped_grad_u
            if limits[2] <= v <= limits[3]:
                grad_v += clamped_grad_v
            grad_local[0], grad_local[1] = grad_u * over_z, grad_v * over_z
            grad_local[2] = grad[Z] - over_z * (grad_u * u + grad_v * v + zoom_x + zoom_y)
            _grad_quaternion(grad_rotation, w, x, y, z, inverse, grad_quats[i])
            for j in range(3):
                camera[4 * j + 3] += grad_local[j]
                for m in range(3):
                    grad_means[i, m] += viewmat[j, m] * grad_local[j]
                    camera[4 * j + m] += grad_turn[j, m] + grad_local[j] * means[i, m]
            camera[12] += grad[X] * u + zoom_x / K[0, 0]
            camera[13] += grad[Y] * v + zoom_y / K[1, 1]
            camera[14] += grad[X]
            camera[15] += grad[Y]
    return grad_means, grad_quats, grad_scales, grad_opacities, grad_colors, grad_camera
