"""Bundle adjustment: cameras, lenses and points that explain all observations best.

One function over two solvers: Ceres where pycolmap can be imported, scipy elsewhere.
"""

from .bundle import Bundle, BundleOptions
from .colmap import has_pycolmap


def adjust_bundle(bundle: Bundle, options: BundleOptions) -> Bundle:
    """Minimise robust reprojection errors plus a prior on the focal lengths.

    The prior is normal in the focal length around its value that the log-normal one has at the
    bundle's focal length, so that repeated calls settle on the log-normal prior.
    """
    if has_pycolmap():
        from .bundle_ceres import adjust_with_ceres

        return adjust_with_ceres(bundle, options)
    from .bundle_scipy import adjust_with_scipy

    return adjust_with_scipy(bundle, options)
