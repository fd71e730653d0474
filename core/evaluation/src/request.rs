//! What an evaluation asks for.

/// A question to a snapshot: the value of one flag for one entity.
#[derive(Debug)]
pub struct Request<'a, C: ?Sized> {
    /// Key of the namespace. The caller has already resolved "none given" to the default namespace.
    pub namespace: &'a str,
    /// Key of the flag.
    pub flag: &'a str,
    /// Identity that decides the bucket; may be empty.
    pub entity: &'a str,
    /// Properties that the constraints look at. The entity id is not among them unless the caller put it there.
    pub context: &'a C,
}

impl<C: ?Sized> Clone for Request<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: ?Sized> Copy for Request<'_, C> {}
